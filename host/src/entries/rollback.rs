//! The rollback point of a topic: the entries as they were before a build on probation changed them.

use std::fmt;
use std::sync::Arc;

use bennu_semantics::Fault;
use bennu_semantics::entries::{AppliedChange, EntryChange, EntryChanges, EntrySums, EntryTable, Journal, Packed};
use bennu_semantics::entries::{FormerEntry, Found, OldEntry};

use super::call::PendingEntries;
use super::journal_bytes::JournalBytes;
use super::node::EntriesNode;
use super::topic::{State, TopicEntries};

/// Whether the entries of a topic can be rolled back.
#[derive(Default)]
pub(super) enum Rollback {
    /// No build on probation has changed them.
    #[default]
    None,
    /// They are rolled back to this point, if its probation ends with a rollback.
    Point(Box<RollbackPoint>),
    /// Too many bytes were changed on this probation. They aren't rolled back.
    GivenUp { probation: u64 },
}

/// A point to which entries can be rolled back.
pub(super) struct RollbackPoint {
    probation: u64,
    journal: Arc<Journal>,
    held: JournalBytes,
    /// The keys of entries that the journal has, and its stored form doesn't have yet. A memory room has none.
    unstored: Vec<Box<[u8]>>,
}

/// Whether the room and the entries of a topic are rolled back, if the build on probation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackState {
    /// They are.
    Possible,
    /// They stay, because too many bytes of entries were changed.
    GivenUp,
}

impl RollbackState {
    /// Its name in `inspect`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::GivenUp => "given up",
        }
    }
}

/// A rollback point was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollbackGivenUp {
    /// The probation.
    pub probation: u64,
    /// The bytes that the journal would have.
    pub bytes: u64,
    /// The most bytes of this journal.
    pub most: u64,
}

impl RollbackPoint {
    fn new(probation: u64, journal: Journal, node: &Arc<EntriesNode>) -> Box<Self> {
        let held = JournalBytes::none(node);
        let (journal, unstored) = (Arc::new(journal), Vec::new());
        Box::new(Self { probation, journal, held, unstored })
    }
}

impl Rollback {
    /// Prepares for the changes of a call on this probation, or on none. `sums` are those before the changes.
    ///
    /// # Errors
    /// If the rollback point has to be given up. It still exists.
    pub(super) fn prepare(
        &mut self,
        probation: Option<u64>,
        changes: &EntryChanges,
        (table, sums): (&EntryTable, EntrySums),
        node: &Arc<EntriesNode>,
    ) -> Result<(), RollbackGivenUp> {
        let Some(id) = probation else {
            // The probation has passed. That it was given up remains known: a call that began before may end now.
            if let Self::Point(_) = self {
                *self = Self::None;
            }
            return Ok(());
        };
        // An empty journal may be left of a commit that failed.
        if !matches!(self, Self::Point(point) if point.probation == id && !point.journal.is_empty()) {
            *self = Self::Point(RollbackPoint::new(id, Journal::new(sums), node));
        }
        let Self::Point(point) = self else { return Ok(()) };
        let bytes = point.journal.weight() + point.journal.growth(changes);
        // A call on probation keeps old entries up to the limit. So those that it hasn't kept would be too many.
        let are_known = point.journal.news(changes).all(|change| former(&change, table).is_some());
        if are_known && point.held.grow_to(bytes) {
            return Ok(());
        }
        Err(RollbackGivenUp { probation: id, bytes, most: point.held.most() })
    }

    pub(super) fn give_up(&mut self, probation: u64) {
        *self = Self::GivenUp { probation };
    }

    /// Notes the entry before a change that is applied to the table. `is_durable` says whether the journal is also stored.
    pub(super) fn note(&mut self, change: AppliedChange<'_>, is_durable: bool) {
        let Self::Point(point) = self else { return };
        let is_new = !point.journal.has(change.key);
        if is_new && is_durable {
            point.unstored.push(change.key.into());
        }
        // The entry is known, because `prepare` has looked for it. A call that sees the journal has ended by now, so this
        // copies nothing.
        let _ = Arc::make_mut(&mut point.journal).note(change);
    }

    /// The probation on which it was given up has ended.
    pub(super) fn forget_given_up(&mut self) {
        if let Self::GivenUp { .. } = self {
            *self = Self::None;
        }
    }

    pub(super) fn is_given_up(&self, id: u64) -> bool {
        matches!(self, Self::GivenUp { probation } if *probation == id)
    }

    /// The probation on which it was given up, or 0.
    pub(super) fn given_up(&self) -> u64 {
        match self {
            Self::GivenUp { probation } => *probation,
            Self::None | Self::Point(_) => 0,
        }
    }

    /// The entries before the rollback point, as far as they have been changed since then.
    pub(super) fn journal(&self) -> Option<&Arc<Journal>> {
        match self {
            Self::Point(point) => Some(&point.journal),
            Self::None | Self::GivenUp { .. } => None,
        }
    }

    /// Rolls a table back. Returns the sums of its entries then. None if nothing has been changed since the rollback point.
    pub(super) fn apply(&mut self, table: &mut EntryTable) -> Option<EntrySums> {
        let Self::Point(point) = std::mem::take(self) else { return None };
        let sums = point.journal.sums();
        Arc::unwrap_or_clone(point.journal).restore(table);
        Some(sums)
    }

    /// The entries of the journal that aren't stored yet, and those before the changes of a call, with their probation.
    pub(super) fn unstored<'a>(
        &'a self,
        changes: Option<&'a EntryChanges>,
        table: &'a EntryTable,
    ) -> impl Iterator<Item = (u64, FormerEntry<'a>)> {
        let point = match self {
            Self::Point(point) => Some(&**point),
            Self::None | Self::GivenUp { .. } => None,
        };
        point.into_iter().flat_map(move |point| {
            let noted = point.unstored.iter().filter_map(|key| point.journal.former(key));
            let news = changes.into_iter().flat_map(|changes| point.journal.news(changes));
            noted.chain(news.filter_map(|change| former(&change, table))).map(|former| (point.probation, former))
        })
    }

    /// The store has all of it, and the entries before the changes of a call. They are noted now, because the table may lose
    /// them before the changes are applied.
    pub(super) fn mark_stored(&mut self, changes: Option<&EntryChanges>, table: &EntryTable) {
        let Self::Point(point) = self else { return };
        point.unstored = Vec::new();
        let mut news = Vec::new();
        for change in changes.into_iter().flat_map(|changes| point.journal.news(changes)) {
            let Some(FormerEntry { key, entry }) = former(&change, table) else { continue };
            let value = entry.map_or(&[][..], |(_, value)| value);
            news.extend(Packed::new(key, value).ok().map(|packed| (packed, entry.map(|(version, _)| version))));
        }
        let journal = Arc::make_mut(&mut point.journal);
        news.into_iter().for_each(|(packed, version)| journal.add(packed, version));
    }
}

/// The entry before a change, if the change or the table has it.
fn former<'a>(change: &EntryChange<'a>, table: &'a EntryTable) -> Option<FormerEntry<'a>> {
    let entry = match change.old {
        OldEntry::Absent => None,
        OldEntry::Entry { packed, version } => Some((*version, packed.value())),
        OldEntry::Bytes(_) => match table.get(change.key) {
            Found::Entry { version, value } => Some((version, value)),
            Found::Absent | Found::Unknown => return None,
        },
    };
    Some(FormerEntry { key: change.key, entry })
}

/// Rollback points of topics.
impl TopicEntries {
    /// Whether the rollback point was given up on this probation.
    #[must_use]
    pub fn is_given_up(&self, probation: u64) -> bool {
        self.state().rollback.is_given_up(probation)
    }

    /// The probation on which the rollback point was given up, if one was.
    #[must_use]
    pub fn given_up(&self) -> Option<u64> {
        let probation = self.state().rollback.given_up();
        (probation != 0).then_some(probation)
    }

    /// Whether the rollback point was given up on the last probation.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        self.state().rollback.given_up() != 0
    }

    /// The sums of the entries at the rollback point. None if nothing has been changed since then.
    #[must_use]
    pub fn rollback_sums(&self) -> Option<EntrySums> {
        self.state().rollback.journal().map(|journal| journal.sums())
    }

    /// Checks, before the changes of a call are stored, whether the entries before them can be kept.
    ///
    /// # Errors
    /// If the rollback point has to be [given up](Self::give_up_rollback), after the commit.
    pub fn prepare_rollback(&self, probation: Option<u64>, pending: &PendingEntries) -> Result<(), RollbackGivenUp> {
        let mut state = self.state();
        let State { table, sums, rollback, .. } = &mut *state;
        rollback.prepare(probation, pending.changes(), (table, sums.unwrap_or_default()), self.node())
    }

    /// Gives the rollback point up.
    pub fn give_up_rollback(&self, probation: u64) {
        self.state().rollback.give_up(probation);
    }

    /// The probation has passed: the entries from before aren't needed any more.
    pub fn end_rollback_point(&self) {
        self.state().rollback = Rollback::None;
    }

    /// Rolls the entries back to the rollback point.
    pub fn roll_back(&self) {
        let mut state = self.locked();
        let State { table, sums, published, rollback, .. } = &mut *state;
        if let Some(before) = rollback.apply(table) {
            // The prefixes with which the build before has counted them aren't known.
            (*sums, *published) = (Some(before), 0);
            if !self.is_durable() {
                state.hold(before.weight());
            }
        }
    }

    /// Reads the rollback point of a durable room, whose state from before belongs to this probation. `sums` are those of the
    /// entries at the point.
    ///
    /// # Errors
    /// Fault: store, if the store can't be read.
    pub async fn load_rollback_point(&self, probation: u64, sums: EntrySums) -> Result<(), Fault> {
        let mut journal = Journal::new(sums);
        self.read_formers(probation, |packed, version| journal.add(packed, version)).await?;
        // Entries that are written later need the sums, and a rollback sets them.
        self.load_sums().await?;
        if !journal.is_empty() {
            let mut point = RollbackPoint::new(probation, journal, self.node());
            point.held.count(point.journal.weight());
            self.state().rollback = Rollback::Point(point);
        }
        Ok(())
    }

    /// Reads whether the rollback point of a durable room was given up on this probation.
    ///
    /// # Errors
    /// Fault: store, if the store can't be read.
    pub async fn load_given_up(&self, probation: u64) -> Result<(), Fault> {
        self.load_sums().await?;
        let mut state = self.state();
        if state.stored.given_up == probation {
            state.rollback.give_up(probation);
        }
        Ok(())
    }

    /// Takes the rollback point of a memory room over. Nothing of it is stored yet.
    pub(super) fn take_over_rollback(&self, memory: &Self) {
        let mut rollback = std::mem::take(&mut memory.state().rollback);
        if let Rollback::Point(point) = &mut rollback {
            point.unstored = point.journal.iter().map(|former| former.key.into()).collect();
        }
        self.state().rollback = rollback;
    }
}

impl fmt::Debug for Rollback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Point(_) => "Point",
            Self::GivenUp { .. } => "GivenUp",
        })
    }
}
