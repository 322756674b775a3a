//! A fair queue takes turns between sources: one that has put much into it does not keep the others waiting.

use std::collections::VecDeque;

/// Places that stay for the items of a source when it has nothing waiting any more.
const KEPT_PLACES: usize = 8;

/// First in, first out for each source, and one of each in turn. Sources are small numbers.
pub(super) struct FairQueue<T> {
    by_source: Vec<VecDeque<T>>,
    /// Those that have something waiting, the next one first.
    round_robin: VecDeque<usize>,
    len: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { by_source: Vec::new(), round_robin: VecDeque::new(), len: 0 }
    }
}

impl<T> FairQueue<T> {
    /// What waits of this source.
    pub(super) fn len_of(&self, source: usize) -> usize {
        self.by_source.get(source).map_or(0, VecDeque::len)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, source: usize, item: T) {
        if source >= self.by_source.len() {
            self.by_source.resize_with(source + 1, VecDeque::new);
        }
        let waiting = &mut self.by_source[source];
        if waiting.is_empty() {
            self.round_robin.push_back(source);
        }
        waiting.push_back(item);
        self.len += 1;
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let source = self.round_robin.pop_front()?;
        let waiting = self.by_source.get_mut(source)?;
        let item = waiting.pop_front();
        self.len -= 1;
        if waiting.is_empty() {
            waiting.shrink_to(KEPT_PLACES);
        } else {
            self.round_robin.push_back(source);
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
            queue.push(item.as_bytes()[0].into(), item);
        }
        assert_eq!((queue.len(), queue.len_of(b'a'.into()), queue.len_of(b'x'.into())), (7, 4, 0));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn nothing_is_kept_of_a_flood() {
        let mut queue = FairQueue::default();
        for item in 0..1000 {
            queue.push(1, item);
        }
        while queue.pop().is_some() {}
        assert!(queue.by_source[1].capacity() <= KEPT_PLACES);
    }
}
