//! Tables for people, in the room that their terminal has: no word is broken, and what is least needed is left out first.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::sync::OnceLock;

use comfy_table::{ContentArrangement, TableStyle, presets};

/// The heads of what is left out last, the most needed first. What names a row stands first in it, and always stays.
const NEEDED: [&str; 25] = [
    "state",
    "is",
    "reason",
    "why",
    "lane",
    "head",
    "cause",
    "dead",
    "result",
    "did",
    "message",
    "found",
    "to do",
    "value",
    "record",
    "waiting",
    "destination",
    "source",
    "out/s",
    "in/s",
    "received",
    "delivered",
    "kind",
    "error",
    "who",
];
/// What is longer is cut, or goes on in the next line; numbers, names and moments stay whole.
const WHOLE_MAX: usize = 40;
/// A text gets so much room before other columns are left out for it; in a small terminal a fourth of it.
const TEXT_MIN: usize = 16;
/// The left side of the frame.
const FRAME: usize = 1;
/// The blanks around a cell, and what follows it.
const AROUND: usize = 3;

/// How much a terminal shows at once, in characters and lines.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Characters of a line.
    pub columns: usize,
    /// Lines.
    pub lines: usize,
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.columns, self.lines)
    }
}

impl FromStr for Room {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sides =
            text.split_once('x').and_then(|(columns, lines)| Some((columns.parse().ok()?, lines.parse().ok()?)));
        let (columns, lines) = sides.ok_or("write it as 80x24")?;
        Ok(Self { columns, lines })
    }
}

/// The room of a terminal that another process has.
static GIVEN: OnceLock<Room> = OnceLock::new();

/// Draws for a terminal that another process has.
pub fn set_room(room: Room) {
    // The first is said once, by the command line.
    let _ = GIVEN.set(room);
}

/// The room of the terminal at standard output, or the one that is given; none where there is none.
#[must_use]
pub fn room() -> Option<Room> {
    if let Some(given) = GIVEN.get() {
        return Some(*given);
    }
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&out).ok()?;
    let or = |said: u16, usual: usize| if said == 0 { usual } else { usize::from(said) };
    Some(Room { columns: or(size.ws_col, 80), lines: or(size.ws_row, 24) })
}

/// What becomes of a text for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Long {
    /// It goes on in the next line.
    Wrapped,
    /// It ends with an ellipsis: a row is a line.
    Cut,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
    long: Long,
}

/// A column that is drawn.
#[derive(Clone, Copy)]
struct Column {
    index: usize,
    width: usize,
    is_text: bool,
    /// The greater, the sooner it is left out.
    rank: usize,
}

impl Table {
    /// A table with these heads.
    #[must_use]
    pub fn new(heads: &[&str]) -> Self {
        Self { heads: heads.iter().map(|head| (*head).to_owned()).collect(), rows: Vec::new(), long: Long::Wrapped }
    }

    /// The same, of which each row is a line where there is little room: what is cut is said whole elsewhere.
    #[must_use]
    pub fn of_lines(mut self) -> Self {
        self.long = Long::Cut;
        self
    }

    /// Adds a row.
    pub fn add_row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }

    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Leaves so many rows, of which the last says how many more there are.
    pub fn shorten(&mut self, rows: usize) {
        let more = self.rows.len().saturating_sub(rows.max(1));
        if more > 0 {
            self.rows.truncate(rows.max(1) - 1);
            self.rows.push(vec![format!("… {} more", more + 1)]);
        }
    }

    /// The table for a terminal of so many characters, and the heads of what is left out.
    #[must_use]
    pub fn within(&self, width: usize) -> (String, Vec<&str>) {
        let columns = self.columns_within(width);
        let is_shown = |index: usize| columns.iter().any(|column| column.index == index);
        let all = self.heads.iter().enumerate();
        let missing = all.filter(|(index, _)| !is_shown(*index) && !self.is_blank(*index));
        let missing = missing.map(|(_, head)| head.as_str()).collect();
        let cells = |row: &[String]| -> Vec<String> {
            let cell = |column: &Column| self.cell(row.get(column.index).map_or("", String::as_str), column.width);
            columns.iter().map(cell).collect()
        };
        let mut table = framed(presets::UTF8_BORDERS_ONLY);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX)).set_header(cells(&self.heads));
        for row in &self.rows {
            table.add_row(cells(row));
        }
        (table.to_string(), missing)
    }

    /// A cell as it stands in so much room.
    fn cell(&self, text: &str, width: usize) -> String {
        match self.long {
            Long::Wrapped => text.lines().map(|line| wrapped(line, width)).collect::<Vec<_>>().join("\n"),
            Long::Cut => text.lines().map(|line| cut(line, width)).collect::<Vec<_>>().join("\n"),
        }
    }

    /// Which columns have room, and how much each gets.
    fn columns_within(&self, width: usize) -> Vec<Column> {
        let mut columns: Vec<Column> = (0..self.heads.len()).map(|index| self.column(index)).collect();
        let least = TEXT_MIN.min(width / 4);
        loop {
            let whole = FRAME + columns.iter().map(|column| column.width + AROUND).sum::<usize>();
            let over = whole.saturating_sub(width);
            let texts = columns.iter().filter(|column| column.is_text);
            let spare: usize = texts.map(|column| column.width.saturating_sub(least)).sum();
            let worst = columns.iter().max_by_key(|column| (column.rank, column.index)).map(|column| column.index);
            if over <= spare || columns.len() <= 1 {
                narrow(&mut columns, over, least);
                return columns;
            }
            columns.retain(|column| Some(column.index) != worst);
        }
    }

    fn cells(&self, index: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |row| row.get(index)).map(String::as_str).filter(|cell| !cell.is_empty())
    }

    fn is_blank(&self, index: usize) -> bool {
        self.cells(index).next().is_none()
    }

    fn column(&self, index: usize) -> Column {
        let head = self.heads.get(index).map_or("", String::as_str);
        let lines = || self.cells(index).flat_map(str::lines);
        let width = lines().chain([head]).map(length).max().unwrap_or_default();
        let is_text = !is_moment(self.cells(index))
            && lines().any(|line| line.matches(' ').count() > 2 || length(line) > WHOLE_MAX);
        let rank = match NEEDED.iter().position(|needed| *needed == head) {
            _ if index == 0 => 0,
            _ if self.is_blank(index) => usize::MAX,
            Some(place) => place + 1,
            None if is_moment(self.cells(index)) => NEEDED.len() + 2,
            None => NEEDED.len() + 1,
        };
        Column { index, width, is_text, rank }
    }
}

impl fmt::Display for Table {
    /// As it is read by programs and in files: without a frame, and whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = framed(presets::NOTHING);
        table.set_header(&self.heads);
        self.rows.iter().for_each(|row| {
            table.add_row(row);
        });
        table.fmt(f)
    }
}

fn framed(style: TableStyle) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Takes room from texts, from the longest first; from the only column, whatever it holds.
fn narrow(columns: &mut [Column], mut over: usize, least: usize) {
    let is_only = columns.len() == 1;
    while over > 0 {
        let texts = columns.iter_mut().filter(|column| is_only || column.is_text && column.width > least);
        let Some(longest) = texts.max_by_key(|column| column.width).filter(|column| column.width > 1) else { return };
        longest.width -= 1;
        over -= 1;
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Whether these are moments as people read them: `2026-09-21 14:13:20 UTC`.
fn is_moment<'a>(mut cells: impl Iterator<Item = &'a str>) -> bool {
    cells.all(|cell| cell.ends_with(" UTC") && length(cell) == 23)
}

/// The words that have room, and an ellipsis for those that have none.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let room: String = text.chars().take(width.saturating_sub(1)).collect();
    let is_end = text.chars().nth(width.saturating_sub(1)).is_none_or(char::is_whitespace);
    let words =
        if is_end { room.len() } else { room.rfind(' ').filter(|at| at * 2 >= room.len()).unwrap_or(room.len()) };
    format!("{}…", room.get(..words).unwrap_or(&room).trim_end())
}

/// A line in several, broken between words; within one only where it is longer than a line.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word.to_owned();
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(&word);
        } else if length(line) + 1 + length(&word) <= width {
            line.push(' ');
            line.push_str(&word);
        } else {
            while length(&word) > width.max(1) {
                let rest = word.chars().skip(width.max(1)).collect();
                lines.push(word.chars().take(width.max(1)).collect());
                word = rest;
            }
            lines.push(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-27 12:35:19 UTC";
    const WHY: &str = "HTTP status 422: the country is not known to this system, ask whoever keeps its list";

    fn deliveries() -> Table {
        let heads =
            ["delivery", "notification", "record", "destination", "state", "attempts", "changed", "due at", "reason"];
        let mut table = Table::new(&heads).of_lines();
        for (id, state) in [("17", "dead"), ("4711", "waiting")] {
            let cells = [id, "04l2400000X000005AAG", "006240000X000005AAB", "erp-create", state, "3", AT, "", WHY];
            table.add_row(cells);
        }
        table
    }

    #[test]
    fn in_any_room_a_row_is_a_line_and_what_is_least_needed_is_left_out_first() {
        let table = deliveries();
        for width in [20, 40, 60, 80, 100, 132, 250] {
            let (drawn, missing) = table.within(width);
            assert!(drawn.lines().all(|line| length(line) <= width), "{width}: {drawn}");
            assert_eq!(drawn.lines().count(), 4 + 2, "{width}: {drawn}");
            assert!(drawn.contains("4711") && !missing.contains(&"due at"), "{width}: {drawn}");
            for word in drawn.split([' ', '│', '…']).filter(|word| word.contains("erp")) {
                assert_eq!(word, "erp-create", "{width}: {drawn}");
            }
        }
        let (drawn, missing) = table.within(80);
        assert_eq!(missing, ["notification", "attempts", "changed"], "{drawn}");
        assert!(drawn.contains("006240000X000005AAB") && drawn.contains("HTTP status 422:…"), "{drawn}");
        let (drawn, missing) = table.within(40);
        assert!(missing.contains(&"destination") && drawn.contains("waiting") && drawn.contains("HTTP"), "{drawn}");
        let (drawn, missing) = table.within(250);
        assert!(missing.is_empty() && drawn.contains(WHY) && drawn.contains("due at"), "{drawn}");
    }

    #[test]
    fn what_is_to_be_read_whole_goes_on_in_the_next_line_between_words() {
        let mut table = Table::new(&["system", "is", "why"]);
        table.add_row(["erp-create", "paused", WHY]);
        let (drawn, missing) = table.within(50);
        assert!(missing.is_empty() && drawn.lines().all(|line| length(line) <= 50), "{drawn}");
        let cells = drawn.lines().map(|line| line.trim_matches(['│', ' ']));
        let said: String = cells.map(|line| format!(" {}", line.trim_start_matches("erp-create   paused"))).collect();
        let said: Vec<&str> = said.split_whitespace().collect();
        assert!(said.join(" ").contains(WHY), "{drawn}");
        let (long, _) = table.within(20);
        assert!(long.contains("erp-create") && long.lines().all(|line| length(line) <= 20), "{long}");
    }

    #[test]
    fn what_programs_read_is_whole_in_one_line_and_has_no_frame() {
        let plain = deliveries().to_string();
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines.len(), 3, "{plain}");
        assert!(lines[1].contains(WHY) && lines[1].contains(AT) && !plain.contains('│'), "{plain}");
    }

    #[test]
    fn a_table_that_is_too_long_says_how_many_more_there_are() {
        let mut table = Table::new(&["destination", "is"]);
        (1..=9).for_each(|number| table.add_row([format!("d{number}"), "open".to_owned()]));
        table.shorten(9);
        assert_eq!(table.len(), 9);
        table.shorten(4);
        let plain = table.to_string();
        assert!(
            table.len() == 4 && plain.contains("d3") && plain.contains("… 6 more") && !plain.contains("d4"),
            "{plain}"
        );
        assert!(Table::new(&["x"]).is_empty());
    }

    #[test]
    fn words_are_cut_off_whole() {
        assert_eq!(cut("all of it", 9), "all of it");
        assert_eq!(cut("all of it, and more", 11), "all of it,…");
        assert_eq!(cut("all of it, and more", 13), "all of it,…");
        assert_eq!(cut("http://crm.internal/customers", 12), "http://crm.…");
        assert_eq!(wrapped("one three", 5), "one\nthree");
        assert_eq!(wrapped("a http://x", 4), "a\nhttp\n://x");
    }
}
