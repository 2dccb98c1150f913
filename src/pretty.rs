//! Bodies as people read them: JSON and XML indented, everything else as it is.

/// Indents a body by its content type; what cannot be indented is given as it is.
#[must_use]
pub fn body(content_type: &str, text: &str) -> String {
    if content_type.contains("json")
        && let Ok(value) = serde_json::from_str::<serde_json::Value>(text)
    {
        return format!("{value:#}");
    }
    if content_type.contains("xml") { xml(text) } else { text.to_owned() }
}

/// Indents well-formed XML. Text beside elements stands on lines of its own, with its blanks.
fn xml(text: &str) -> String {
    let pieces = pieces(text);
    let mut lines: Vec<String> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        let next = (pieces.get(at + 1), pieces.get(at + 2));
        match piece {
            Piece::Open(tag) => match next {
                (Some(Piece::Text(text)), Some(Piece::Close(close))) => {
                    lines.push(format!("{}{tag}{text}{close}", "  ".repeat(depth)));
                    at += 2;
                }
                (Some(Piece::Close(close)), _) => {
                    lines.push(format!("{}{tag}{close}", "  ".repeat(depth)));
                    at += 1;
                }
                _ => {
                    lines.push(format!("{}{tag}", "  ".repeat(depth)));
                    depth += 1;
                }
            },
            Piece::Close(tag) => {
                depth = depth.saturating_sub(1);
                lines.push(format!("{}{tag}", "  ".repeat(depth)));
            }
            Piece::Other(tag) => lines.push(format!("{}{tag}", "  ".repeat(depth))),
            Piece::Text(text) if text.trim().is_empty() => {}
            Piece::Text(text) => lines.push(format!("{}{text}", "  ".repeat(depth))),
        }
        at += 1;
    }
    lines.join("\n")
}

enum Piece<'t> {
    Open(&'t str),
    Close(&'t str),
    Other(&'t str),
    Text(&'t str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let length = if rest.starts_with('<') { tag_length(rest) } else { rest.find('<').unwrap_or(rest.len()) };
        let (piece, after) = rest.split_at(length);
        pieces.push(match piece {
            _ if !piece.starts_with('<') => Piece::Text(piece),
            _ if piece.starts_with("<![CDATA[") => Piece::Text(piece),
            _ if piece.starts_with("</") => Piece::Close(piece),
            _ if piece.starts_with("<!") || piece.starts_with("<?") || piece.ends_with("/>") => Piece::Other(piece),
            _ => Piece::Open(piece),
        });
        rest = after;
    }
    pieces
}

/// The length of the tag that a text begins with; quotes may hold `>`.
fn tag_length(text: &str) -> usize {
    for (open, close) in [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")] {
        if text.starts_with(open) {
            return text.find(close).map_or(text.len(), |at| at + close.len());
        }
    }
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '>') => return at + 1,
            (None, _) => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_is_indented_and_its_text_kept() {
        let text = "<?xml version=\"1.0\"?><a x='>'><b> t &amp; u </b><c/><d></d>\n mixed <e><f>1</f></e></a>";
        let expected = "<?xml version=\"1.0\"?>\n<a x='>'>\n  <b> t &amp; u </b>\n  <c/>\n  <d></d>\n  \n mixed \n  <e>\n    \
                        <f>1</f>\n  </e>\n</a>";
        assert_eq!(body("text/xml", text), expected);
        assert_eq!(body("application/json", "{\"a\":45.00}"), "{\n  \"a\": 45.00\n}");
        assert_eq!(body("text/plain", "<x"), "<x");
        assert_eq!(body("text/xml", "<x"), "<x");
    }
}
