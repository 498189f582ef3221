//! The views of a topic's published entries: which members get which changes, with which numbers.
//!
//! A client applies a change only if its number is one more than the number of the client's state. So each view has numbers
//! of its own, and all members of a view get the same message. A member that has missed changes gets them as one message, so
//! that its number is lower than the view's from then on. The difference is its *offset*. A view has few offsets, so that
//! few different messages have to be made.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::followed::Followed;
use super::published::{PublishedChange, object_of};

/// The number of a view.
pub type ViewId = u32;

/// The view of the members that follow all published entries.
pub const ALL: ViewId = 0;

/// The number of a view's first whole state.
const FIRST: u64 = 1;

/// The views of a topic. Only views with members exist, except the one with all entries.
#[derive(Debug)]
pub struct Views {
    /// The number of the view with all entries.
    all: u64,
    others: BTreeMap<ViewId, View>,
    by_set: HashMap<Followed, ViewId>,
    /// The views with each prefix.
    by_prefix: HashMap<Box<str>, Vec<ViewId>>,
    /// The lengths of these prefixes, each with how many prefixes have it.
    lengths: BTreeMap<usize, usize>,
    last: ViewId,
}

/// A view of a part of the entries.
#[derive(Debug)]
struct View {
    followed: Followed,
    number: u64,
    members: BTreeSet<u64>,
}

/// A commit's changes of one view.
#[derive(Debug)]
pub struct ViewChange<'a> {
    /// The view.
    pub view: ViewId,
    /// The number of the view after the changes.
    pub number: u64,
    changes: Vec<&'a PublishedChange>,
}

impl ViewChange<'_> {
    /// Returns the text of the merge patch.
    #[must_use]
    pub fn patch(&self) -> String {
        object_of(self.changes.iter().map(|change| change.field()))
    }
}

impl Default for Views {
    fn default() -> Self {
        Self {
            all: FIRST,
            others: BTreeMap::new(),
            by_set: HashMap::new(),
            by_prefix: HashMap::new(),
            lengths: BTreeMap::new(),
            last: ALL,
        }
    }
}

impl Views {
    /// Returns the number of a view.
    #[must_use]
    pub fn number(&self, view: ViewId) -> u64 {
        self.others.get(&view).map_or(self.all, |view| view.number)
    }

    /// Returns the prefixes of a view, or none for the view with all entries.
    #[must_use]
    pub fn followed(&self, view: ViewId) -> Option<&Followed> {
        self.others.get(&view).map(|view| &view.followed)
    }

    /// Returns the members of a view. The members of the view with all entries aren't counted here.
    pub fn members(&self, view: ViewId) -> impl Iterator<Item = u64> {
        self.others.get(&view).into_iter().flat_map(|view| view.members.iter().copied())
    }

    /// Adds a member to the view with these prefixes, or with all entries.
    pub fn enter(&mut self, member: u64, followed: Option<&Followed>) -> ViewId {
        let Some(followed) = followed else { return ALL };
        let id = self.by_set.get(followed).copied().unwrap_or_else(|| self.add(followed));
        if let Some(view) = self.others.get_mut(&id) {
            view.members.insert(member);
        }
        id
    }

    fn add(&mut self, followed: &Followed) -> ViewId {
        // Among at most as many views as a topic has members, one of the numbers is free.
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != ALL && !self.others.contains_key(&self.last) {
                break;
            }
        }
        for prefix in followed.prefixes() {
            let views = self.by_prefix.entry(prefix.clone()).or_default();
            if views.is_empty() {
                *self.lengths.entry(prefix.len()).or_default() += 1;
            }
            views.push(self.last);
        }
        self.by_set.insert(followed.clone(), self.last);
        let view = View { followed: followed.clone(), number: FIRST, members: BTreeSet::new() };
        self.others.insert(self.last, view);
        self.last
    }

    /// Removes a member from its view.
    pub fn leave(&mut self, member: u64, view: ViewId) {
        let Some(left) = self.others.get_mut(&view) else { return };
        left.members.remove(&member);
        if !left.members.is_empty() {
            return;
        }
        let Some(View { followed, .. }) = self.others.remove(&view) else { return };
        self.by_set.remove(&followed);
        for prefix in followed.prefixes() {
            let Some(views) = self.by_prefix.get_mut(prefix) else { continue };
            views.retain(|other| *other != view);
            if views.is_empty() {
                self.by_prefix.remove(prefix);
                if let Some(prefixes) = self.lengths.get_mut(&prefix.len()) {
                    *prefixes -= 1;
                    if *prefixes == 0 {
                        self.lengths.remove(&prefix.len());
                    }
                }
            }
        }
    }

    /// Numbers the changes of a commit, for each view that has one of the changed entries.
    ///
    /// The cost grows with the changes and with the views that have them: a key is looked up once for each length of the
    /// prefixes that are followed.
    pub fn change<'c>(&mut self, changes: &'c [PublishedChange]) -> Vec<ViewChange<'c>> {
        let mut touched: BTreeMap<ViewId, Vec<&PublishedChange>> = BTreeMap::new();
        for change in changes.iter().filter(|_| !self.others.is_empty()) {
            for length in self.lengths.keys().take_while(|length| **length <= change.key().len()) {
                let views = change.key().get(..*length).and_then(|prefix| self.by_prefix.get(prefix));
                views.into_iter().flatten().for_each(|view| touched.entry(*view).or_default().push(change));
            }
        }
        if !changes.is_empty() {
            touched.insert(ALL, changes.iter().collect());
        }
        let number = |(view, changes)| {
            let number = self.others.get_mut(&view).map_or(&mut self.all, |view| &mut view.number);
            *number += 1;
            ViewChange { view, number: *number, changes }
        };
        touched.into_iter().map(number).collect()
    }
}
