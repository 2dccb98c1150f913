//! What is sent, made one envelope at a time: nothing of it is kept, and the same job makes the same bytes again.

use bytes::Bytes;

use crate::parse;

use super::edit::{Change, Document, Kin};
use super::ids::{FreshIds, Picker};

/// The largest file that is taken, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// An envelope as a file or a constant holds it.
#[derive(Clone, Debug)]
pub struct File {
    /// What it is called in errors.
    pub name: String,
    /// Its bytes.
    pub bytes: Bytes,
}

impl File {
    /// An envelope that the program carries with it.
    #[must_use]
    pub fn embedded(name: &str, text: &'static str) -> Self {
        Self { name: name.to_owned(), bytes: Bytes::from_static(text.as_bytes()) }
    }
}

/// What is done to the files' envelopes before they are sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Editing {
    /// This many notifications in each envelope.
    pub(super) regroup: Option<u16>,
    /// Ids of their own.
    pub(super) ids: Option<FreshIds>,
    /// Some notifications will be sent again, changed.
    pub(super) changes: bool,
}

/// One envelope to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Letter {
    /// The n-th of the run.
    Nth(u64),
    /// Some notifications of the n-th, changed.
    Changed(u64, Vec<u32>),
}

/// All envelopes of a run.
#[derive(Debug)]
pub(super) enum Letters {
    /// The files' own bytes, with the number of notifications in each: as a gateway counts them, 0 where it refuses the whole.
    Whole(Vec<(Bytes, u32)>),
    /// Put together from parts.
    Edited(Edited),
}

/// Envelopes that are put together from parts.
#[derive(Debug)]
pub(super) struct Edited {
    documents: Vec<Document>,
    groups: Vec<Group>,
    /// One round: what is sent before anything repeats, as (group, how many envelopes of that group came before).
    round: Vec<(usize, u64)>,
    regroup: Option<u16>,
    ids: Option<FreshIds>,
    /// The number of the first notification of each envelope of a round, and behind the last of all how many a round has.
    first_numbers: Vec<u64>,
    /// How many notifications of the files can be changed, and how many there are.
    changeable: u64,
    notifications: u64,
}

/// Notifications that may share an envelope, as (document, notification).
#[derive(Debug)]
struct Group {
    kin: Kin,
    members: Vec<(usize, usize)>,
}

impl Letters {
    /// Prepares the envelopes of a run.
    ///
    /// # Errors
    /// Which file cannot be edited as asked, and why.
    pub(super) fn new(files: &[File], editing: Editing) -> anyhow::Result<Self> {
        anyhow::ensure!(!files.is_empty(), "there is no envelope to send: name a file");
        if editing.regroup.is_none() && editing.ids.is_none() && !editing.changes {
            let limits = parse::Limits::default();
            let counted = |file: &File| {
                parse::envelope(&file.bytes, None, &limits, None).map_or(0, |read| small(read.notifications.len()))
            };
            return Ok(Self::Whole(files.iter().map(|file| (file.bytes.clone(), counted(file))).collect()));
        }
        let documents = files.iter().map(|file| readable(file, editing)).collect::<anyhow::Result<Vec<_>>>()?;
        let edited = Edited::new(documents, editing);
        if editing.changes && edited.changeable == 0 {
            anyhow::bail!("changing a text field: no notification in {} has one", names(files));
        }
        Ok(Self::Edited(edited))
    }

    /// How many envelopes are sent before anything repeats.
    pub(super) fn round(&self) -> u64 {
        match self {
            Self::Whole(files) => large(files.len()),
            Self::Edited(edited) => large(edited.round.len()),
        }
    }

    /// How many notifications the first `envelopes` hold.
    fn notifications(&self, envelopes: u64) -> u64 {
        match self {
            Self::Whole(_) => 0,
            Self::Edited(edited) => edited.first_number(envelopes),
        }
    }

    /// How many notifications that can be changed the first `envelopes` hold; exact for whole rounds.
    pub(super) fn changeable(&self, envelopes: u64) -> u64 {
        match self {
            Self::Whole(_) => 0,
            Self::Edited(edited) => edited.share_changeable(edited.first_number(envelopes)),
        }
    }

    /// Which notifications of the n-th envelope can be changed.
    pub(super) fn changeable_in(&self, number: u64) -> Vec<u32> {
        match self {
            Self::Whole(_) => Vec::new(),
            Self::Edited(edited) => {
                let members = edited.members(number);
                (0..).zip(&members).filter(|(_, member)| edited.is_changeable(**member)).map(|(at, _)| at).collect()
            }
        }
    }

    /// How many notifications an envelope has.
    pub(super) fn len(&self, letter: &Letter) -> u32 {
        match (self, letter) {
            (_, Letter::Changed(_, positions)) => small(positions.len()),
            (Self::Whole(files), Letter::Nth(number)) => wrapped(files, *number).map_or(0, |(_, count)| *count),
            (Self::Edited(edited), Letter::Nth(number)) => small(edited.members(*number).len()),
        }
    }

    /// The bytes of an envelope; always the same for the same letter.
    pub(super) fn bytes(&self, letter: &Letter) -> Bytes {
        match (self, letter) {
            (Self::Whole(files), Letter::Nth(number) | Letter::Changed(number, _)) => {
                wrapped(files, *number).map(|(bytes, _)| bytes.clone()).unwrap_or_default()
            }
            (Self::Edited(edited), Letter::Nth(number)) => edited.envelope(*number).into(),
            (Self::Edited(edited), Letter::Changed(number, positions)) => edited.changed(*number, positions).into(),
        }
    }
}

fn readable(file: &File, editing: Editing) -> anyhow::Result<Document> {
    let document = Document::read(&file.bytes).and_then(|document| {
        if editing.ids.is_some() {
            document.check_ids()?;
        }
        Ok(document)
    });
    document.map_err(|reason| anyhow::anyhow!("editing {}: {reason}", file.name))
}

impl Edited {
    fn new(documents: Vec<Document>, editing: Editing) -> Self {
        let groups = groups(&documents, editing.regroup.is_some());
        let mut round = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let size = editing.regroup.map_or(group.members.len(), usize::from).max(1);
            round.extend((0..large(group.members.len().div_ceil(size))).map(|before| (at, before)));
        }
        let notifications = groups.iter().map(|group| large(group.members.len())).sum();
        let mut edited = Self {
            documents,
            groups,
            round,
            regroup: editing.regroup,
            ids: editing.ids,
            first_numbers: vec![0],
            changeable: 0,
            notifications,
        };
        let members = || edited.groups.iter().flat_map(|group| &group.members);
        edited.changeable = large(members().filter(|member| edited.is_changeable(**member)).count());
        let mut sum = 0;
        for number in 0..large(edited.round.len()) {
            sum += large(edited.members(number).len());
            edited.first_numbers.push(sum);
        }
        edited
    }

    /// The number, in the run, of an envelope's first notification.
    fn first_number(&self, envelope: u64) -> u64 {
        let length = large(self.round.len()).max(1);
        let within = usize::try_from(envelope % length).unwrap_or(0);
        let whole = self.first_numbers.last().copied().unwrap_or(0).saturating_mul(envelope / length);
        whole.saturating_add(self.first_numbers.get(within).copied().unwrap_or(0))
    }

    fn is_changeable(&self, (document, notification): (usize, usize)) -> bool {
        self.documents.get(document).is_some_and(|document| document.is_changeable(notification))
    }

    /// How many of so many notifications can be changed, when they are the files' over and over.
    fn share_changeable(&self, sent: u64) -> u64 {
        let share = u128::from(sent) * u128::from(self.changeable) / u128::from(self.notifications.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// The notifications of an envelope, round-robin within their group.
    fn members(&self, envelope: u64) -> Vec<(usize, usize)> {
        let Some((group, before)) = wrapped(&self.round, envelope) else { return Vec::new() };
        let Some(group) = self.groups.get(*group) else { return Vec::new() };
        let size = self.regroup.map_or(large(group.members.len()), u64::from);
        let in_round = large(group.members.len()).div_ceil(size.max(1));
        let round = envelope / large(self.round.len()).max(1);
        let first = round.saturating_mul(in_round).saturating_add(*before).saturating_mul(size);
        (0..size).filter_map(|at| wrapped(&group.members, first.saturating_add(at)).copied()).collect()
    }

    fn envelope(&self, envelope: u64) -> String {
        let members = self.members(envelope);
        let mut number = self.first_number(envelope);
        self.assemble(&members, |_| {
            let change = self.change(number, false);
            number += 1;
            change
        })
    }

    fn changed(&self, envelope: u64, positions: &[u32]) -> String {
        let all = self.members(envelope);
        let at = |position: &u32| usize::try_from(*position).unwrap_or(usize::MAX);
        let members: Vec<_> = positions.iter().filter_map(|position| all.get(at(position)).copied()).collect();
        let first = self.first_number(envelope);
        let number = |index: usize| first + positions.get(index).map_or(0, |position| u64::from(*position));
        self.assemble(&members, |index| self.change(number(index), true))
    }

    fn change(&self, number: u64, marked: bool) -> Change {
        Change {
            notification_id: self.ids.map(|ids| ids.notification(number)),
            record_body: self.ids.map(|ids| ids.record_body(number)),
            mark: marked.then(|| format!(" (changed {})", number + 1)),
        }
    }

    /// Head, notifications, tail. What stands between neighbours of one file stays between them.
    fn assemble(&self, members: &[(usize, usize)], mut change: impl FnMut(usize) -> Change) -> String {
        let Some(frame) = members.first().and_then(|(document, _)| self.documents.get(*document)) else {
            return String::new();
        };
        let mut out = String::from(frame.head());
        let mut before: Option<(usize, usize)> = None;
        for (index, (at, notification)) in members.iter().copied().enumerate() {
            let Some(document) = self.documents.get(at) else { continue };
            match before {
                Some((document_before, notification_before))
                    if document_before == at && notification_before + 1 == notification =>
                {
                    out.push_str(document.gap(notification));
                }
                Some(_) => out.push_str(frame.indent()),
                None => {}
            }
            document.write(notification, &change(index), &mut out);
            before = Some((at, notification));
        }
        out.push_str(frame.tail());
        out
    }
}

fn names(files: &[File]) -> String {
    match files {
        [] => String::new(),
        [one] => one.name.clone(),
        [first, rest @ ..] => format!("{} or the other {} files", first.name, rest.len()),
    }
}

/// With regrouping, all notifications of one kin; otherwise each file by itself.
fn groups(documents: &[Document], regroup: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let members = (0..document.len()).map(|notification| (at, notification));
        match groups.iter_mut().find(|group| regroup && group.kin == *document.kin()) {
            Some(group) => group.members.extend(members),
            None => groups.push(Group { kin: document.kin().clone(), members: members.collect() }),
        }
    }
    groups
}

/// What is sent next, as long as there is something.
#[derive(Debug)]
pub(super) struct Schedule {
    next: u64,
    count: u64,
    duplicates: Picker,
    changes: Picker,
}

/// One envelope of the schedule, and what is to follow it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// Its number in the run.
    pub(super) number: u64,
    /// How often it is sent: once, or twice.
    pub(super) copies: u8,
    /// Its notifications that are sent again, changed, once it was answered.
    pub(super) changes: Vec<u32>,
}

impl Schedule {
    /// A run of `count` envelopes, of which some are sent twice, and of whose notifications some are sent again, changed.
    pub(super) fn new(letters: &Letters, count: u64, shares: (f64, f64), seed: u64) -> Self {
        let (duplicates, changes) = shares;
        Self {
            next: 0,
            count,
            duplicates: Picker::new(seed ^ 0xD0, count, duplicates),
            changes: Picker::among(seed ^ 0xC4, letters.notifications(count), changes, letters.changeable(count)),
        }
    }

    /// How many envelopes are still to come, less those with changes.
    pub(super) fn left(&self) -> u64 {
        (self.count - self.next).saturating_add(self.duplicates.wanted())
    }

    /// Whether there is nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.next >= self.count
    }

    /// The next envelope.
    pub(super) fn next(&mut self, letters: &Letters) -> Option<Planned> {
        if self.is_over() {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let copies = 1 + u8::from(self.duplicates.pick());
        let changes = if self.changes.wanted() == 0 {
            Vec::new()
        } else {
            letters.changeable_in(number).into_iter().filter(|_| self.changes.pick()).collect()
        };
        Some(Planned { number, copies, changes })
    }
}

fn wrapped<T>(items: &[T], number: u64) -> Option<&T> {
    let length = large(items.len());
    items.get(usize::try_from(number.checked_rem(length)?).ok()?)
}

fn large(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, organization: &str, ids: &[&str]) -> File {
        let notifications: String = ids
            .iter()
            .map(|id| {
                format!(
                    "\n  <m:Notification a='1'>\n   <m:Id> {id} </m:Id><!-- <Id>x</Id> -->\n   <m:sObject>\
                     <f:Id>001{id}</f:Id><f:ParentId>001{id}</f:ParentId><f:Name>Ä &amp; <![CDATA[<b>]]></f:Name>\
                     <f:Id__c>{id}</f:Id__c></m:sObject></m:Notification>"
                )
            })
            .collect();
        let text = format!(
            "\u{FEFF}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<E:Envelope xmlns:E=\"http://schemas.xmlsoap.org/soap/envelope/\">\
             <E:Body><m:notifications xmlns:m=\"http://soap.sforce.com/2005/09/outbound\" \
             xmlns:f='urn:sobject.enterprise.soap.sforce.com'><m:OrganizationId>{organization}</m:OrganizationId>{notifications}\r\n\
             </m:notifications></E:Body></E:Envelope>\n"
        );
        File { name: name.to_owned(), bytes: text.into() }
    }

    fn sent(letters: &Letters, letter: &Letter) -> String {
        String::from_utf8(letters.bytes(letter).to_vec()).unwrap()
    }

    fn ids_in(text: &str) -> Vec<String> {
        text.split("<m:Id> ").skip(1).map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn editing_changes_nothing_else_than_ids() {
        let original = file("a", "00D1", &["1111", "2222"]);
        let ids = FreshIds::new(1);
        let letters =
            Letters::new(std::slice::from_ref(&original), Editing { regroup: None, ids: Some(ids), changes: false })
                .unwrap();
        let mut expected = String::from_utf8(original.bytes.to_vec()).unwrap();
        for (number, id) in [(0, "1111"), (1, "2222")] {
            let record = super::super::ids::finish("001", &ids.record_body(number));
            expected = expected
                .replace(&format!("<m:Id> {id} "), &format!("<m:Id> {} ", ids.notification(number)))
                .replace(&format!("<f:Id>001{id}<"), &format!("<f:Id>{record}<"));
        }
        assert_eq!(sent(&letters, &Letter::Nth(0)), expected);
        assert_ne!(sent(&letters, &Letter::Nth(1)), expected, "the next round has other ids");
        assert_eq!(sent(&letters, &Letter::Nth(0)), expected, "the same letter has the same bytes");
    }

    #[test]
    fn regrouping_goes_round_and_never_mixes_organizations() {
        let files =
            [file("a", "00D1", &["1", "2", "3"]), file("b", "00D2", &["8", "9"]), file("c", "00D1", &["4", "5"])];
        let letters = Letters::new(&files, Editing { regroup: Some(2), ..Editing::default() }).unwrap();
        assert_eq!(letters.round(), 4);
        assert_eq!(letters.notifications(5), 10);

        let ids: Vec<Vec<String>> = (0..8).map(|number| ids_in(&sent(&letters, &Letter::Nth(number)))).collect();
        assert_eq!(
            ids,
            [["1", "2"], ["3", "4"], ["5", "1"], ["8", "9"], ["2", "3"], ["4", "5"], ["1", "2"], ["8", "9"]]
        );
        for number in 0..8 {
            let text = sent(&letters, &Letter::Nth(number));
            assert!(Document::read(text.as_bytes()).is_ok_and(|document| document.len() == 2), "{text}");
            assert_eq!(text.contains("00D2"), ids_in(&text).contains(&"8".to_owned()));
        }
    }

    #[test]
    fn a_changed_notification_keeps_its_id_and_differs_in_one_text_field() {
        let files = [file("a", "00D1", &["1", "2", "3"])];
        let letters = Letters::new(&files, Editing { changes: true, ..Editing::default() }).unwrap();
        let changed = sent(&letters, &Letter::Changed(0, vec![0, 2]));
        assert_eq!(ids_in(&changed), ["1", "3"]);
        assert!(changed.contains("<![CDATA[<b>]]> (changed 1)</f:Name>"), "{changed}");
        assert!(changed.contains("<![CDATA[<b>]]> (changed 3)</f:Name>"), "{changed}");
        assert_eq!(sent(&letters, &Letter::Nth(0)).into_bytes(), files[0].bytes, "the first sending is as the file is");
    }

    #[test]
    fn a_schedule_has_the_asked_shares() {
        let letters =
            Letters::new(&[file("a", "00D1", &["1", "2"])], Editing { changes: true, ..Editing::default() }).unwrap();
        let mut schedule = Schedule::new(&letters, 50, (20.0, 10.0), 3);
        assert_eq!(schedule.left(), 60);
        let all: Vec<Planned> = std::iter::from_fn(|| schedule.next(&letters)).collect();
        assert_eq!(all.len(), 50);
        assert_eq!(all.iter().filter(|planned| planned.copies == 2).count(), 10);
        assert_eq!(all.iter().map(|planned| planned.changes.len()).sum::<usize>(), 10);
        assert!(schedule.is_over() && schedule.left() == 0);
    }

    #[test]
    fn only_notifications_with_a_text_field_are_changed() {
        let with = file("a", "00D1", &["1", "2"]);
        let without = String::from_utf8(file("b", "00D1", &["8", "9"]).bytes.to_vec()).unwrap();
        let without = File { name: "b".to_owned(), bytes: without.replace("Ä &amp; <![CDATA[<b>]]>", "12.5").into() };
        for regroup in [None, Some(3)] {
            let editing = Editing { regroup, changes: true, ids: None };
            let letters = Letters::new(&[with.clone(), without.clone()], editing).unwrap();
            let mut schedule = Schedule::new(&letters, 8, (0.0, 100.0), 3);
            while let Some(planned) = schedule.next(&letters) {
                let all = sent(&letters, &Letter::Nth(planned.number));
                let changed = sent(&letters, &Letter::Changed(planned.number, planned.changes));
                assert_eq!(changed.matches("12.5").count(), 0);
                assert_eq!(changed.matches(" (changed ").count(), all.matches("<b>]]>").count());
            }
            let error = Letters::new(std::slice::from_ref(&without), editing).unwrap_err().to_string();
            assert_eq!(error, "changing a text field: no notification in b has one");
        }
    }

    #[test]
    fn what_cannot_be_edited_is_named_with_its_reason() {
        let envelope = |inside: &str| {
            format!(
                "<E:Envelope xmlns:E=\"http://schemas.xmlsoap.org/soap/envelope/\"><E:Body>\
                 <notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\">{inside}</notifications></E:Body></E:Envelope>"
            )
        };
        let deep = "<a>".repeat(100_000);
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (Vec::new(), "no outbound message"),
            (b"{}".to_vec(), "no outbound message"),
            (b"<a><b></a>".to_vec(), "line 1, column 7"),
            (b"<a>\n<b:c/></a>".to_vec(), "line 2, column 1: the prefix b is not declared"),
            (envelope("").into_bytes(), "has no Notification"),
            (envelope("<Notification/>").into_bytes(), "notification 1 has no Id"),
            (envelope("<Notification><Id/></Notification>").into_bytes(), "notification 1 has no Id"),
            (envelope("<Notification><Id>1</Id>").into_bytes(), "line 1"),
            (envelope("<Notification><Id>&x;</Id></Notification>").into_bytes(), "&x;"),
            (b"<!DOCTYPE a><a/>".to_vec(), "document type"),
            (b"<?xml version='1.0' encoding='ISO-8859-1'?><a/>".to_vec(), "encoding ISO-8859-1"),
            (b"<a>\xE4</a>".to_vec(), "not UTF-8 (byte 3)"),
            (vec![0xFF, 0xFE, b'<', 0], "UTF-16"),
            (b"<a>".to_vec(), "ends in the middle"),
            (deep.into_bytes(), "nested deeper"),
        ];
        for (bytes, expected) in cases {
            let file = File { name: "some.xml".to_owned(), bytes: bytes.into() };
            let editing = Editing { regroup: None, ids: Some(FreshIds::new(1)), changes: true };
            let error = Letters::new(std::slice::from_ref(&file), editing).unwrap_err().to_string();
            assert!(error.starts_with("editing some.xml: ") && error.contains(expected), "{error} / {expected}");
            let whole = Letters::new(std::slice::from_ref(&file), Editing::default()).unwrap();
            assert_eq!(whole.bytes(&Letter::Nth(3)), file.bytes, "unedited, anything is sent as it is");
        }
    }
}
