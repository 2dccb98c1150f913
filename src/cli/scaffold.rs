//! `omgate scaffold`: a complete configuration for two WSDLs, obvious pairs filled in, gaps marked.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::print;
use crate::cli::wsdl::tree::{occurs, type_in_words};
use crate::cli::wsdl::{Disk, in_words};
use crate::config;
use crate::facts;
use crate::wsdl::outbound::{self, DeclaredRecord};
use crate::wsdl::outline::{Cut, Kind, Outline};
use crate::wsdl::{self, Files, Operation, OperationChoice};

/// How wide a comment is.
const WIDTH: usize = 110;
/// How deep optional elements are written out.
const OPTIONAL_DEPTH_MAX: usize = 6;
/// How many lines are written at most.
const LINES_MAX: usize = 3_000;
/// What stands behind a line that somebody must fill in.
const GAP: &str = "  # GAP: ";
/// What stands behind one that need not be: nothing is known of it, and it may be nil.
const NIL: &str = "  # makes it nil: ";

/// Arguments of `scaffold`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The outbound message's WSDL, from Salesforce.
    #[arg(long, value_name = "WSDL")]
    source: PathBuf,
    /// The target's WSDL.
    #[arg(long, value_name = "WSDL")]
    destination: PathBuf,
    /// The operation that is called.
    #[arg(long, value_name = "NAME")]
    operation: String,
    /// The service, where several have the operation.
    #[arg(long)]
    service: Option<String>,
    /// The port, where several have the operation.
    #[arg(long)]
    port: Option<String>,
}

/// Prints a configuration to standard output. Exit code 1 when one of the WSDLs cannot be used.
///
/// # Errors
/// When a file cannot be read.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match written(&args) {
        Ok((text, gaps)) => {
            print::line(text.trim_end());
            let gaps = match gaps {
                0 => "no gap is left".to_owned(),
                1 => "1 gap is left: search for GAP".to_owned(),
                gaps => format!("{gaps} gaps are left: search for GAP"),
            };
            print::note(&format!("{gaps}; fill it in, then run `omgate check --config FILE`"));
            Ok(ExitCode::SUCCESS)
        }
        Err(reasons) => {
            reasons.iter().for_each(|reason| print::note(reason));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn written(args: &Args) -> Result<(String, usize), Vec<String>> {
    let records = records(&args.source)?;
    let model = wsdl::load(&args.destination, &Disk)
        .map_err(|findings| findings.iter().map(|found| in_words(&args.destination, found)).collect::<Vec<_>>())?;
    let choice =
        OperationChoice { service: args.service.as_deref(), port: args.port.as_deref(), operation: &args.operation };
    let operation =
        model.operation(&choice).map_err(|error| vec![format!("{}: {error}", args.destination.display())])?;
    let mut page = Page { operation: &operation, records: &records, lines: Vec::new(), gaps: 0 };
    page.write(args);
    Ok((page.lines.join("\n"), page.gaps))
}

fn records(path: &Path) -> Result<Vec<DeclaredRecord>, Vec<String>> {
    let bytes = Disk.read(path).map_err(|error| vec![format!("reading {}: {error}", path.display())])?;
    let text = String::from_utf8(bytes).map_err(|_| vec![format!("{} is not UTF-8 text", path.display())])?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    outbound::declared(&name, &text).map_err(|findings| findings.iter().map(|found| in_words(path, found)).collect())
}

/// A name for a path, an address or a key: letters, digits and dashes.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "unnamed".to_owned() } else { slug.to_owned() }
}

fn stem(path: &Path) -> String {
    slug(&path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default())
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A TOML key.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { name.to_owned() } else { quoted(name) }
}

struct Page<'p> {
    operation: &'p Operation,
    records: &'p [DeclaredRecord],
    lines: Vec<String>,
    gaps: usize,
}

/// Where a level stands.
#[derive(Clone)]
struct At {
    /// The whole path.
    path: Vec<String>,
    /// The path below the table that is being written.
    keys: Vec<String>,
    /// Everything here is written as a comment: it may be left out.
    idle: bool,
    depth: usize,
}

/// A list of elements, which TOML wants behind the plain keys.
struct Later<'o> {
    outline: &'o Outline,
    at: At,
}

impl<'p> Page<'p> {
    fn line(&mut self, line: impl Into<String>) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(line.into());
        }
    }

    fn gap(&mut self, line: &str, what: &str) {
        self.gaps += 1;
        self.line(format!("{line}{GAP}{what}"));
    }

    fn write(&mut self, args: &Args) {
        let (source, destination) = (stem(&args.source), slug(&args.operation));
        self.head(args, &source, &destination);
        self.fields();
        self.line("[route.map]");
        let outlines = self.operation.request();
        let single = self.operation.has_single_part();
        let root = At { path: Vec::new(), keys: Vec::new(), idle: false, depth: 0 };
        let headers = self.operation.request_headers();
        let mut later = Vec::new();
        match outlines.as_slice() {
            // The content of the only part; of one that is text itself, its value.
            [only] if single && only.children.is_empty() && !only.builtin.is_empty() => {
                let value = vec!["$value".to_owned()];
                self.leaf(only, &At { path: value.clone(), keys: value, ..root });
            }
            [only] if single => {
                self.abstract_type(only, &root);
                self.level(&only.children, &root, &mut later);
            }
            several => self.level(several, &root, &mut later),
        }
        if !headers.is_empty() {
            self.comment("", "Header blocks that the WSDL binds:");
            let path = vec!["$header".to_owned()];
            let at = At { path: path.clone(), keys: path, idle: false, depth: 0 };
            self.level(&headers, &at, &mut later);
        }
        self.lists(later);
        if self.lines.len() >= LINES_MAX {
            self.lines.push(format!("# … and more: the request is larger than {LINES_MAX} lines"));
        }
    }

    fn head(&mut self, args: &Args, source: &str, destination: &str) {
        self.line("# Fill in every line that says GAP. What is commented out may be left out.");
        self.line("");
        self.line("[server]");
        self.line("listen = \"127.0.0.1:8080\"");
        self.line("admin_listen = \"127.0.0.1:8081\"");
        self.line("");
        self.line("[store]");
        self.line("url = \"sqlite:omgate.db\"");
        self.line("");
        self.line("[[source]]");
        self.line(format!("name = {}", quoted(source)));
        // Salesforce has no password to show: who knows the path may post to it.
        let path = quoted(&format!("/om/{source}-{}", config::GAP_PATH));
        self.gap(&format!("path = {path}"), "long and random at its end: it is a secret, for who guesses it may post");
        self.gap("organizations = [\"00D000000000000\"]", "the id of your Salesforce organization");
        self.line(format!("wsdl = {}", quoted(&args.source.display().to_string())));
        let fields = self.records.iter().flat_map(|record| &record.fields).map(|field| field.name.as_str());
        let fields: Vec<String> = facts::fit_for_search(fields).into_iter().map(quoted).collect();
        if !fields.is_empty() {
            let list = fields.join(", ");
            self.line(format!("# search = [{list}]  # `omgate find VALUE` looks in these, in what comes from then on"));
        }
        self.line("");
        self.line("[[destination]]");
        self.line(format!("name = {}", quoted(destination)));
        self.line("kind = \"soap\"");
        self.line(format!("wsdl = {}", quoted(&args.destination.display().to_string())));
        if args.service.is_some() {
            self.line(format!("service = {}", quoted(self.operation.service())));
        }
        if args.port.is_some() {
            self.line(format!("port = {}", quoted(self.operation.port())));
        }
        self.line(format!("operation = {}", quoted(&args.operation)));
        match self.operation.endpoint() {
            endpoint if !is_address(endpoint) => {
                let what = if endpoint.is_empty() { "the WSDL gives no address" } else { "the WSDL's is no address" };
                self.gap("endpoint = \"http://host/path\"", what);
            }
            endpoint => {
                self.line(format!("# endpoint = {}  # the WSDL's own; often an internal one", quoted(endpoint)))
            }
        }
        self.line("# paused = true  # begin by collecting: nothing is sent until `omgate systems resume`");
        self.line("");
        self.line("[[route]]");
        self.line(format!("source = {}", quoted(source)));
        self.line(format!("destination = {}", quoted(destination)));
        self.line("# when = \"record.StageName == 'Closed Won'\"  # without it: every message");
        self.line("");
    }

    /// What there is to fill in with.
    fn fields(&mut self) {
        for record in self.records {
            let fields: Vec<String> =
                record.fields.iter().map(|field| format!("{} ({})", field.name, field.field_type)).collect();
            self.comment("", &format!("{} has {}", record.name, fields.join(", ")));
        }
    }

    fn comment(&mut self, indent: &str, text: &str) {
        let mut line = format!("{indent}#");
        for word in text.split_whitespace() {
            if line.chars().count() + word.chars().count() >= WIDTH && line.len() > indent.len() + 1 {
                self.line(std::mem::replace(&mut line, format!("{indent}#")));
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(line);
    }

    fn level<'o>(&mut self, outlines: &'o [Outline], at: &At, later: &mut Vec<Later<'o>>) {
        for outline in outlines {
            match outline.kind {
                Kind::Sequence | Kind::All | Kind::Choice => self.group(outline, at, later),
                Kind::Any => self.any(outline, at),
                Kind::Attribute => self.leaf(outline, &below(at, &outline.step(), outline)),
                Kind::Element => self.element(outline, at, later),
            }
        }
    }

    fn any(&mut self, outline: &Outline, at: &At) {
        self.comment("", &format!("any element · {} · XML as text", occurs(outline)));
        let line = format!("{} = \"\"", keys(&below_plain(at, "$xml")));
        let must = outline.min > 0 && !at.idle;
        if must { self.gap(&line, "required, such as \"'<a/>'\"") } else { self.line(format!("# {line}")) }
    }

    fn group<'o>(&mut self, group: &'o Outline, at: &At, later: &mut Vec<Later<'o>>) {
        let idle = at.idle || group.min == 0;
        if group.kind != Kind::Choice {
            return self.level(&group.children, &At { idle, ..at.clone() }, later);
        }
        let branches: Vec<String> = group.children.iter().map(branch).collect();
        let times =
            if (group.min, group.max) == (1, Some(1)) { String::new() } else { format!("{} × ", occurs(group)) };
        self.comment(
            "",
            &format!("{times}one of: {}; the first is written, take another in its place", branches.join(" | ")),
        );
        for (position, child) in group.children.iter().enumerate() {
            let at = At { idle: idle || position > 0, ..at.clone() };
            self.level(std::slice::from_ref(child), &at, later);
        }
    }

    fn element<'o>(&mut self, outline: &'o Outline, at: &At, later: &mut Vec<Later<'o>>) {
        let own = below(at, &outline.step(), outline);
        let is_text = !outline.builtin.is_empty();
        let attributes = outline.children.iter().any(|child| child.kind == Kind::Attribute);
        let rows = matches!(outline.array.as_slice(), [1]) && outline.children.iter().all(|item| item.array.is_empty());
        if rows && outline.cut.is_none() {
            return later.push(Later { outline, at: own });
        }
        if !outline.array.is_empty() {
            return self.lists_within_lists(outline, &own);
        }
        if outline.is_abstract && outline.cut.is_none() && outline.is_repeated() {
            return later.push(Later { outline, at: own });
        }
        if outline.is_abstract && outline.cut.is_none() && outline.children.is_empty() {
            self.describe(outline, &own);
            let begun = (self.lines.len(), self.gaps);
            self.abstract_type(outline, &own);
            return self.nil_for_gaps(outline, &own, begun);
        }
        if outline.children.is_empty() || outline.cut.is_some() || (own.idle && own.depth > OPTIONAL_DEPTH_MAX) {
            return self.leaf(outline, &own);
        }
        if is_text && !outline.is_repeated() {
            // Text with attributes: its value has a name of its own.
            self.leaf(outline, &if attributes { below_plain(&own, "$value") } else { own.clone() });
            return self.level(&outline.children, &own, later);
        }
        if outline.is_repeated() {
            return later.push(Later { outline, at: own });
        }
        self.describe(outline, &own);
        let begun = (self.lines.len(), self.gaps);
        self.abstract_type(outline, &own);
        let before = self.lines.len();
        let lists = later.len();
        self.level(&outline.children, &own, later);
        let is_filled = self.lines.iter().skip(before).any(|line| is_active(line));
        let filled = is_filled || later.iter().skip(lists).any(|list| !list.at.idle);
        if !own.idle && outline.is_required() && !outline.nillable && !filled && !outline.is_abstract {
            self.line(format!(
                "{} = {{}}  # must be there, and may be empty: fill in some of the above in its place",
                keys(&own)
            ));
        }
        if later.len() == lists {
            self.nil_for_gaps(outline, &own, begun);
        }
    }

    /// What may be nil and has nothing in it but gaps is nil, until somebody fills it in. `begun` is how many lines and gaps
    /// there were before it.
    fn nil_for_gaps(&mut self, outline: &Outline, at: &At, (before, gaps): (usize, usize)) {
        let is_open = |line: &String| is_active(line) && !line.contains(GAP) && !line.contains(NIL);
        let must = outline.is_required() && !at.idle;
        if must && outline.nillable && self.gaps > gaps && !self.lines.iter().skip(before).any(is_open) {
            self.comment_out(before, gaps);
            self.line(format!("{} = \"none\"{NIL}fill in some of the above in its place", keys(at)));
        }
    }

    /// Makes comments of the lines behind so many, of which none is a gap any more.
    fn comment_out(&mut self, before: usize, gaps: usize) {
        self.gaps = gaps;
        for line in self.lines.iter_mut().skip(before).filter(|line| is_active(line)) {
            *line = format!("# {}", line.replace(GAP, "  # "));
        }
    }

    /// An array of several dimensions has no tables: an expression gives the whole of it.
    fn lists_within_lists(&mut self, outline: &Outline, at: &At) {
        self.describe(outline, at);
        self.comment("", "its value is a list of lists, such as [[1, 2], [3, 4]]");
        let line = format!("{} = \"\"", keys(at));
        match outline.is_required() && !at.idle {
            true if outline.nillable => {
                self.line(format!("{} = \"none\"{NIL}give it a value in its place", keys(at)));
            }
            true => self.gap(&line, "required"),
            false => self.line(format!("# {line}")),
        }
    }

    /// Which of several types it is has to be said.
    fn abstract_type(&mut self, outline: &Outline, at: &At) {
        if !outline.is_abstract {
            return;
        }
        self.comment("", &format!("one of {}; each has elements of its own", outline.types.join(", ")));
        let line = format!("{} = \"\"", keys(&below_plain(at, "$type")));
        if at.idle { self.line(format!("# {line}")) } else { self.gap(&line, "the type, such as \"'Name'\"") }
    }

    fn describe(&mut self, outline: &Outline, at: &At) {
        let words = type_in_words(outline);
        let words = if words.is_empty() { String::new() } else { format!(" · {words}") };
        self.comment("", &format!("{} · {}{words}", shown(&at.path), occurs(outline)));
        if let Some(said) = &outline.documentation {
            self.comment("", said);
        }
    }

    /// One key: a pair, a gap, or a comment.
    fn leaf(&mut self, outline: &Outline, at: &At) {
        self.describe(outline, at);
        let names: Vec<&str> = at.path.iter().map(String::as_str).collect();
        let target = self.operation.resolve(&names).ok();
        let key = keys(at);
        if outline.cut == Some(Cut::Recursion) {
            return self.line(format!("# {key} = {{ }}  # goes on like what it stands in"));
        }
        let wanted: Vec<&str> = names.iter().copied().filter(|name| *name != "$value").collect();
        let wanted: Vec<&str> = wanted.iter().map(|name| name.trim_start_matches('@')).collect();
        let pair = target.and_then(|target| config::pair(self.operation, &target, &wanted, self.records));
        let must = outline.is_required() && !at.idle;
        match (pair, must) {
            (Some(source), _) if !at.idle || at.depth <= 1 => self.line(format!("{key} = {}", quoted(&source))),
            (Some(source), _) => self.line(format!("# {key} = {}", quoted(&source))),
            (None, true) if outline.nillable && names.last() != Some(&"$value") => {
                self.line(format!("{key} = \"none\"{NIL}give it a value in its place"));
            }
            (None, true) if !outline.builtin.is_empty() || outline.children.is_empty() => {
                self.gap(&format!("{key} = \"\""), "required");
            }
            (None, _) => self.line(format!("# {key} = \"\"")),
        }
    }

    /// Lists of elements, each with a table of its own; those within them follow.
    fn lists(&mut self, later: Vec<Later<'_>>) {
        for Later { outline, at } in later {
            self.line("");
            self.describe(outline, &at);
            let header =
                format!("[[route.map.{}]]", at.path.iter().map(|name| key(name)).collect::<Vec<_>>().join("."));
            let before = self.lines.len();
            self.line(header);
            let inner = At { keys: Vec::new(), idle: false, ..at.clone() };
            let gaps = self.gaps;
            let mut deeper = Vec::new();
            // A row of an array is an item of it.
            let row = outline.children.first().filter(|_| !outline.array.is_empty()).unwrap_or(outline);
            self.abstract_type(row, &inner);
            if !row.builtin.is_empty() || (!outline.array.is_empty() && row.children.is_empty() && !row.is_abstract) {
                let value = Outline { min: 1, max: Some(1), ..row.clone() };
                self.leaf(&value, &below_plain(&inner, "$value"));
            }
            self.level(&row.children, &inner, &mut deeper);
            self.lists(deeper);
            if at.idle {
                // May be left out as a whole: commented out, with whatever stands in it.
                self.comment_out(before, gaps);
            }
        }
    }
}

/// Whether a line says something to the program.
fn is_active(line: &str) -> bool {
    !line.starts_with('#') && !line.is_empty()
}

/// One of a choice: an element, or several that belong together.
fn branch(outline: &Outline) -> String {
    match outline.kind {
        Kind::Element | Kind::Attribute => outline.step(),
        Kind::Any => "any element".to_owned(),
        Kind::Choice => format!("({})", outline.children.iter().map(branch).collect::<Vec<_>>().join(" | ")),
        Kind::Sequence | Kind::All => outline.children.iter().map(branch).collect::<Vec<_>>().join(" with "),
    }
}

fn is_address(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn below(at: &At, name: &str, outline: &Outline) -> At {
    let below = below_plain(at, name);
    At { idle: at.idle || outline.min == 0, ..below }
}

fn below_plain(at: &At, name: &str) -> At {
    let mut below = at.clone();
    below.path.push(name.to_owned());
    below.keys.push(name.to_owned());
    below.depth += 1;
    below
}

fn keys(at: &At) -> String {
    at.keys.iter().map(|name| key(name)).collect::<Vec<_>>().join(".")
}

fn shown(path: &[String]) -> String {
    path.join(".")
}
