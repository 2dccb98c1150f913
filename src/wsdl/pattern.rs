//! XSD regular expressions (XSD 1.0 part 2, appendix F) → `regex`.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

const NAME_START: &str = r"_:A-Za-z\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{2ff}\u{370}-\u{37d}\u{37f}-\u{1fff}\u{200c}\u{200d}\u{2070}-\u{218f}\u{2c00}-\u{2fef}\u{3001}-\u{d7ff}\u{f900}-\u{fdcf}\u{fdf0}-\u{fffd}\u{10000}-\u{effff}";
const NAME_MORE: &str = r"\-.0-9\u{b7}\u{300}-\u{36f}\u{203f}\u{2040}";
/// How large a compiled pattern may get.
const SIZE_MAX: usize = 1 << 20;
const NESTING_MAX: usize = 50;

/// The blocks that schemas in the wild name, as ranges.
const BLOCKS: [(&str, &str); 12] = [
    ("BasicLatin", r"\u{0}-\u{7f}"),
    ("Latin-1Supplement", r"\u{80}-\u{ff}"),
    ("LatinExtended-A", r"\u{100}-\u{17f}"),
    ("LatinExtended-B", r"\u{180}-\u{24f}"),
    ("Greek", r"\u{370}-\u{3ff}"),
    ("Cyrillic", r"\u{400}-\u{4ff}"),
    ("Hebrew", r"\u{590}-\u{5ff}"),
    ("Arabic", r"\u{600}-\u{6ff}"),
    ("Hiragana", r"\u{3040}-\u{309f}"),
    ("Katakana", r"\u{30a0}-\u{30ff}"),
    ("CJKUnifiedIdeographs", r"\u{4e00}-\u{9fff}"),
    ("GeneralPunctuation", r"\u{2000}-\u{206f}"),
];

/// Compiles a pattern facet: the whole value must match.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let mut translator = Translator { rest: pattern.chars().peekable(), out: String::new() };
    translator.expression()?;
    RegexBuilder::new(&format!("^(?:{})$", translator.out))
        .size_limit(SIZE_MAX)
        .nest_limit(100)
        .build()
        .map_err(|error| error.to_string().lines().last().unwrap_or("cannot be compiled").to_owned())
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
}

impl Translator<'_> {
    fn expression(&mut self) -> Result<(), String> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => {
                    let inner = self.escape()?;
                    if inner.is_class {
                        self.out.push_str(&format!("[{}]", inner.text))
                    } else {
                        self.out.push_str(&inner.text)
                    }
                }
                '[' => {
                    let class = self.class(0)?;
                    self.out.push_str(&class);
                }
                '.' => self.out.push_str(r"[^\n\r]"),
                '^' | '$' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                '(' => self.out.push_str("(?:"),
                _ => self.out.push(c),
            }
        }
        Ok(())
    }

    /// What follows a backslash, for the inside of a class.
    fn escape(&mut self) -> Result<Escape, String> {
        let c = self.rest.next().ok_or("ends in a backslash")?;
        let class = |text: String| Ok(Escape { text, is_class: true });
        match c {
            'n' | 'r' | 't' => Ok(Escape { text: format!("\\{c}"), is_class: false }),
            'd' => class(r"\p{Nd}".to_owned()),
            'D' => class(r"\P{Nd}".to_owned()),
            's' => class(r" \t\n\r".to_owned()),
            'S' => class(r"[^ \t\n\r]".to_owned()),
            'w' => class(r"[^\p{P}\p{Z}\p{C}]".to_owned()),
            'W' => class(r"\p{P}\p{Z}\p{C}".to_owned()),
            'i' => class(NAME_START.to_owned()),
            'I' => class(format!("[^{NAME_START}]")),
            'c' => class(format!("{NAME_START}{NAME_MORE}")),
            'C' => class(format!("[^{NAME_START}{NAME_MORE}]")),
            'p' | 'P' => class(self.property(c == 'P')?),
            c if c.is_ascii_alphanumeric() => Err(format!("has the unknown escape \\{c}")),
            c => Ok(Escape { text: literal(c), is_class: false }),
        }
    }

    fn property(&mut self, negative: bool) -> Result<String, String> {
        if self.rest.next() != Some('{') {
            return Err("has \\p without a name".to_owned());
        }
        let name: String = self.rest.by_ref().take_while(|c| *c != '}').collect();
        let Some(block) = name.strip_prefix("Is") else {
            return Ok(format!(r"\{}{{{name}}}", if negative { 'P' } else { 'p' }));
        };
        let ranges = BLOCKS.iter().find(|(known, _)| *known == block).map(|(_, ranges)| *ranges);
        let ranges = ranges.ok_or_else(|| format!("names the block {block}, which is not known here"))?;
        Ok(if negative { format!("[^{ranges}]") } else { ranges.to_owned() })
    }

    /// A character class, from behind its bracket.
    fn class(&mut self, depth: usize) -> Result<String, String> {
        if depth > NESTING_MAX {
            return Err("nests its classes too deeply".to_owned());
        }
        let mut out = String::from("[");
        if self.rest.next_if_eq(&'^').is_some() {
            out.push('^');
        }
        let mut first = true;
        loop {
            match self.rest.next().ok_or("has a class without its end")? {
                ']' => break,
                '[' => out.push_str(r"\["),
                '\\' => out.push_str(&self.escape()?.text),
                '-' if self.rest.peek() == Some(&'[') => {
                    self.rest.next();
                    let taken = self.class(depth + 1)?;
                    let whole = format!("[{out}]--{taken}]");
                    return match self.rest.next() {
                        Some(']') => Ok(whole),
                        _ => Err("goes on after a class was subtracted".to_owned()),
                    };
                }
                '-' if first || self.rest.peek() == Some(&']') => out.push_str(r"\-"),
                '-' => out.push('-'),
                c => out.push_str(&literal(c)),
            }
            first = false;
        }
        out.push(']');
        Ok(out)
    }
}

struct Escape {
    text: String,
    is_class: bool,
}

fn literal(c: char) -> String {
    if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_values_as_xsd_means_them() {
        // pattern | taken | refused
        for (pattern, taken, refused) in [
            ("[A-Z]{2}", vec!["DE"], vec!["D", "DEU", "de"]),
            (r"\d{3}-\d+", vec!["123-4"], vec!["123-", "x123-4"]),
            ("a|bc", vec!["a", "bc"], vec!["abc", "ac"]),
            ("[a-z-[aeiou]]+", vec!["xyz"], vec!["xaz"]),
            ("[^-]*", vec!["abc", ""], vec!["a-b"]),
            ("[+-]?x", vec!["+x", "-x", "x"], vec![",x"]),
            (r"\i\c*", vec!["a:b-1", "_"], vec!["1a", ""]),
            (r"[\i-[:]][\c-[:]]*", vec!["ab1"], vec!["a:b"]),
            ("^a$", vec!["^a$"], vec!["a"]),
            (".", vec!["é", "^"], vec!["", "\n"]),
            (r"\p{Lu}\P{Lu}", vec!["Aa"], vec!["AA"]),
            (r"\p{IsBasicLatin}*", vec!["abc"], vec!["é"]),
            (r"[\w]+", vec!["aé1"], vec!["a b", "a.b"]),
            (r"[\S&&a]+", vec!["&b"], vec!["a b"]),
            ("[#~~]", vec!["~", "#"], vec!["~~"]),
            (r"([0-9]+(\.[0-9]{1,2})?)?", vec!["", "1", "1.25"], vec!["1.", "1.234"]),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            for text in taken {
                assert!(regex.is_match(text), "{pattern} should take {text:?}");
            }
            for text in refused {
                assert!(!regex.is_match(text), "{pattern} should refuse {text:?}");
            }
        }
    }

    #[test]
    fn wrong_or_huge_patterns_are_errors_in_words() {
        for pattern in ["[a", "(", "a{2,1}", r"\", r"\p{IsKlingon}", "((((a{1000}){1000}){1000}){1000})", r"\q"] {
            let error = compile(pattern).unwrap_err();
            assert!(!error.is_empty(), "{pattern}");
        }
    }
}
