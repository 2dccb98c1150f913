//! What may happen to a gateway, and a history of it drawn from a seed.

/// A generator that needs no crate and repeats itself from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// In 0..sides.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.roll(choices.len() as u64)).unwrap()]
    }
}

/// Spreads a number over all 64 bits.
pub(crate) fn mixed(number: u64) -> u64 {
    let mut state = number;
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// What a notification says: `version` is unique to a content and rises with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Content {
    /// A state of a record.
    Record { record: u64, version: u64 },
    /// No sObject: the record was deleted before it was sent.
    Empty,
    /// Nothing readable; told apart by the number.
    Broken(u64),
}

/// One notification of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) id: u64,
    pub(crate) content: Content,
}

/// A kind of command of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Accept,
    Claim,
    Settle,
    Release,
    Change,
    SetSystem,
}

/// What befalls the next command of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done, and the caller hears so.
    Refused,
    /// The queue is full.
    Overloaded,
    /// It is done, and the caller hears that it was not.
    AnswerLost,
    /// It is done, and the answer comes so many milliseconds later.
    SlowAnswer(u64),
    /// It is done so many milliseconds later.
    SlowWrite(u64),
    /// The process dies before it is done.
    DiesBefore,
    /// The process dies when it is done and nobody has heard of it.
    DiesAfter,
    /// The power fails when it is written and not yet synced.
    PowerFails,
}

/// How the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Fine,
    /// It takes nothing more.
    Full,
    /// It is full when it comes to a commit.
    Late,
    /// Every commit meets an I/O error.
    Broken,
}

/// How a target system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes everything but poison.
    Up,
    /// Each call meets something else.
    Flaky,
    /// The same, less what a message dies of.
    Moody,
    /// Nobody listens.
    Down,
    /// Answers 503 with a Retry-After.
    Busy,
    /// Takes every call and answers none.
    Silent,
    /// Refuses our credentials.
    Locked,
}

/// What a person does to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    Replay,
    ReplayEvenIfNewer,
    Hold,
    Release,
    Discard,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Salesforce posts an envelope.
    Post(Vec<Note>),
    /// So many milliseconds pass.
    Pass(u64),
    /// The next command of a kind meets a fault.
    Arm(Command, Fault),
    /// The disk changes.
    Disk(Disk),
    /// A target system changes.
    Target(&'static str, Mood),
    /// A person acts on one of the deliveries.
    Hand(Hand, u64),
    /// A person pauses a system; perhaps only for so many seconds.
    Pause(&'static str, Option<u64>),
    /// A person resumes a system.
    Resume(&'static str),
    /// The wall clock is set, by so many hours.
    SetClock(i64),
    /// `kill -9`; it is down for so many milliseconds, and then runs with one of two configurations.
    Kill(u64, usize),
    /// The power fails; unsynced pages are lost.
    PowerCut(u64),
    /// A stop in good order.
    Stop(u64),
}

pub(crate) const SYSTEMS: [&str; 2] = ["erp", "crm"];

/// Salesforce's side: which notifications there are, and what they said last.
struct Outbox {
    version: u64,
    notes: Vec<Note>,
}

impl Outbox {
    fn fresh(&mut self, dice: &mut Dice) -> Note {
        self.version += 1;
        let id = self.notes.len() as u64 + 1;
        let content = match dice.roll(30) {
            0 => Content::Empty,
            1 => Content::Broken(dice.roll(3)),
            _ => Content::Record { record: dice.roll(6), version: self.version },
        };
        let note = Note { id, content };
        self.notes.push(note);
        note
    }

    /// A notification that was sent before: as it was, or read anew from a record that changed since.
    fn again(&mut self, dice: &mut Dice) -> Note {
        if self.notes.is_empty() {
            return self.fresh(dice);
        }
        // Mostly a recent one.
        let back = dice.roll(self.notes.len() as u64).min(dice.roll(self.notes.len() as u64));
        let place = self.notes.len() - 1 - usize::try_from(back).unwrap();
        if dice.roll(3) == 0 {
            self.version += 1;
            let content = match (self.notes[place].content, dice.roll(12)) {
                (Content::Broken(number), _) => Content::Broken(number),
                (_, 0) => Content::Empty,
                (Content::Record { record, .. }, _) => Content::Record { record, version: self.version },
                (Content::Empty, _) => Content::Record { record: dice.roll(6), version: self.version },
            };
            self.notes[place].content = content;
        }
        self.notes[place]
    }

    fn envelope(&mut self, dice: &mut Dice) -> Step {
        let size = dice.one_of(&[1, 1, 1, 2, 3, 5, 8]);
        let mut notes: Vec<Note> =
            (0..size).map(|_| if dice.roll(3) == 0 { self.again(dice) } else { self.fresh(dice) }).collect();
        // Salesforce keeps no order.
        for place in (1..notes.len()).rev() {
            notes.swap(place, usize::try_from(dice.roll(place as u64 + 1)).unwrap());
        }
        Step::Post(notes)
    }
}

/// The history of a seed.
pub(crate) fn of_seed(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(mixed(seed ^ 0x6f6d_6761_7465));
    let mut outbox = Outbox { version: 0, notes: Vec::new() };
    let length = 20 + dice.roll(30);
    let mut steps = Vec::new();
    // Some histories have a theme: what goes wrong there goes wrong more often.
    let theme = dice.roll(6);
    for _ in 0..length {
        steps.push(match dice.roll(100) {
            0..36 => outbox.envelope(&mut dice),
            36..58 => Step::Pass(dice.one_of(&[1, 20, 300, 1_000, 4_000, 20_000, 90_000])),
            58..66 => Step::Target(
                dice.one_of(&SYSTEMS),
                dice.one_of(&[Mood::Up, Mood::Flaky, Mood::Flaky, Mood::Down, Mood::Busy, Mood::Silent, Mood::Locked]),
            ),
            66..80 => trouble(&mut dice, theme),
            80..90 => hand(&mut dice),
            90..93 => person(&mut dice),
            93 => Step::SetClock(dice.one_of(&[-24, -1, 1, 24])),
            94..97 => Step::Kill(dice.one_of(&[0, 500, 30_000]), usize::try_from(dice.roll(2)).unwrap()),
            97 => Step::PowerCut(dice.one_of(&[0, 500])),
            _ => Step::Stop(dice.one_of(&[0, 2_000])),
        });
    }
    steps
}

fn hand(dice: &mut Dice) -> Step {
    let hand = dice.one_of(&[
        Hand::Replay,
        Hand::Replay,
        Hand::ReplayEvenIfNewer,
        Hand::Hold,
        Hand::Release,
        Hand::Release,
        Hand::Discard,
    ]);
    Step::Hand(hand, dice.next())
}

fn person(dice: &mut Dice) -> Step {
    let system = dice.one_of(&SYSTEMS);
    match dice.roll(3) {
        0 => Step::Resume(system),
        1 => Step::Pause(system, None),
        _ => Step::Pause(system, Some(dice.one_of(&[5, 60]))),
    }
}

fn trouble(dice: &mut Dice, theme: u64) -> Step {
    if dice.roll(4) == 0 || theme == 1 && dice.roll(2) == 0 {
        return Step::Disk(dice.one_of(&[Disk::Fine, Disk::Fine, Disk::Full, Disk::Late, Disk::Broken]));
    }
    let command = dice.one_of(&[
        Command::Accept,
        Command::Accept,
        Command::Claim,
        Command::Settle,
        Command::Settle,
        Command::Release,
        Command::Change,
        Command::SetSystem,
    ]);
    let fault = dice.one_of(&[
        Fault::Refused,
        Fault::Overloaded,
        Fault::AnswerLost,
        Fault::AnswerLost,
        Fault::SlowAnswer(700),
        Fault::SlowAnswer(25_000),
        Fault::SlowWrite(700),
        Fault::SlowWrite(25_000),
        Fault::DiesBefore,
        Fault::DiesAfter,
        Fault::PowerFails,
    ]);
    Step::Arm(command, fault)
}
