//! A page of a tree as the file format has it (sqlite.org/fileformat2.html, section 1.6): what is below it, which
//! rows go on elsewhere, and which of its bytes hold nothing.

use std::ops::Range;

/// Pages of a tree by their first byte.
const TABLE_LEAF: u8 = 0x0d;
const TABLE_INTERIOR: u8 = 0x05;
const INDEX_LEAF: u8 = 0x0a;
const INDEX_INTERIOR: u8 = 0x02;

/// A page of a tree.
pub(super) struct TreePage {
    pub(super) bytes: Vec<u8>,
    usable: usize,
    kind: u8,
    /// Where its header starts.
    header: usize,
    /// Where the list of its cells starts, and how many they are.
    cells: usize,
    count: usize,
}

impl TreePage {
    pub(super) fn parse(page: u32, bytes: Vec<u8>, usable: usize) -> Option<Self> {
        let header = if page == 1 { 100 } else { 0 };
        let kind = *bytes.get(header)?;
        let cells = match kind {
            TABLE_LEAF | INDEX_LEAF => header + 8,
            TABLE_INTERIOR | INDEX_INTERIOR => header + 12,
            _ => return None,
        };
        let count = u16_at(&bytes, header + 3)?;
        Some(Self { bytes, usable, kind, header, cells, count })
    }

    /// Where its cells start.
    fn starts(&self) -> impl Iterator<Item = usize> {
        (0..self.count).map_while(|n| u16_at(&self.bytes, self.cells + 2 * n))
    }

    /// The pages below it.
    pub(super) fn children(&self) -> Vec<u32> {
        if !matches!(self.kind, TABLE_INTERIOR | INDEX_INTERIOR) {
            return Vec::new();
        }
        let last = u32_at(&self.bytes, self.header + 8);
        self.starts().map_while(|start| u32_at(&self.bytes, start)).chain(last).collect()
    }

    /// The gap between the list of cells and the cells, and the free blocks without their headers.
    pub(super) fn unused(&self) -> Vec<Range<usize>> {
        let content = match u16_at(&self.bytes, self.header + 5) {
            Some(0) => 65_536,
            Some(start) => start,
            None => return Vec::new(),
        };
        let gap = self.cells + 2 * self.count..content;
        if content > self.usable || gap.start > gap.end || self.starts().any(|start| start < content) {
            return Vec::new();
        }
        let mut unused = vec![gap];
        let mut block = u16_at(&self.bytes, self.header + 1).unwrap_or(0);
        // In order, so that a circle ends.
        while block >= content {
            let (Some(next), Some(size)) = (u16_at(&self.bytes, block), u16_at(&self.bytes, block + 2))
            else {
                break;
            };
            if size < 4 || block + size > self.usable {
                break;
            }
            unused.push(block + 4..block + size);
            if next <= block {
                break;
            }
            block = next;
        }
        unused
    }

    /// Of every row that goes on elsewhere: the page where, and how many bytes.
    pub(super) fn overflows(&self) -> Vec<(u32, usize)> {
        self.starts().filter_map(|start| self.overflow(start)).collect()
    }

    fn overflow(&self, start: usize) -> Option<(u32, usize)> {
        let (most, at) = match self.kind {
            TABLE_LEAF => (self.usable - 35, start),
            INDEX_LEAF => ((self.usable - 12) * 64 / 255 - 23, start),
            INDEX_INTERIOR => ((self.usable - 12) * 64 / 255 - 23, start + 4),
            _ => return None,
        };
        let (length, mut at) = varint(&self.bytes, at)?;
        if self.kind == TABLE_LEAF {
            (_, at) = varint(&self.bytes, at)?;
        }
        let length = usize::try_from(length).ok()?;
        if length <= most {
            return None;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let here = least + (length - least) % (self.usable - 4);
        let here = if here <= most { here } else { least };
        Some((u32_at(&self.bytes, at + here)?, length - here))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(bytes)))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A number of one to nine bytes, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for place in 0..9 {
        let byte = *bytes.get(at + place)?;
        if place == 8 {
            return Some((value << 8 | u64::from(byte), at + 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, at + place + 1));
        }
    }
    None
}
