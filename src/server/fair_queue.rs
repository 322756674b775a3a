//! A fair queue takes turns between sources: one that has put much into it does not keep the others waiting.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// First in, first out for each source, and one of each in turn.
pub(super) struct FairQueue<S, T> {
    by_source: HashMap<S, VecDeque<T>>,
    /// Those that have something waiting, the next one first.
    turns: VecDeque<S>,
    len: usize,
}

impl<S, T> Default for FairQueue<S, T> {
    fn default() -> Self {
        Self { by_source: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }
}

impl<S: Copy + Eq + Hash, T> FairQueue<S, T> {
    /// What waits of this source.
    pub(super) fn len_of(&self, source: S) -> usize {
        self.by_source.get(&source).map_or(0, VecDeque::len)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, source: S, item: T) {
        let waiting = self.by_source.entry(source).or_default();
        if waiting.is_empty() {
            self.turns.push_back(source);
        }
        waiting.push_back(item);
        self.len += 1;
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let source = self.turns.pop_front()?;
        let waiting = self.by_source.get_mut(&source)?;
        let item = waiting.pop_front();
        self.len -= 1;
        if waiting.is_empty() {
            self.by_source.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_turns() {
        let mut queue = FairQueue::default();
        for item in ["a1", "a2", "a3", "b1", "a4", "b2", "c1"] {
            queue.push(item.as_bytes()[0], item);
        }
        assert_eq!((queue.len(), queue.len_of(b'a'), queue.len_of(b'x')), (7, 4, 0));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
        assert!(queue.len() == 0 && queue.by_source.is_empty());
    }
}
