//! The counts of a delivery say what became of its items, by kind and result.

use std::ops::AddAssign;

use super::{ItemResult, Kind};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemCounts([[u64; ItemResult::ALL.len()]; Kind::ALL.len()]);

impl ItemCounts {
    pub fn add(&mut self, kind: Kind, result: ItemResult) {
        self.0[kind as usize][result as usize] += 1;
    }

    pub fn of(&self, kind: Kind, result: ItemResult) -> u64 {
        self.0[kind as usize][result as usize]
    }

    /// Items of every kind with this result.
    pub fn results(&self, result: ItemResult) -> u64 {
        self.0.iter().map(|kind| kind[result as usize]).sum()
    }
}

impl AddAssign<&Self> for ItemCounts {
    fn add_assign(&mut self, other: &Self) {
        for (count, more) in self.0.as_flattened_mut().iter_mut().zip(other.0.as_flattened()) {
            *count += more;
        }
    }
}
