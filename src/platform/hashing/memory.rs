//! The memory that argon2 fills.

use argon2::Block;

/// The memory of one thread, kept from hash to hash: to map and fault in new pages for each would cost a third of
/// the speed. What a hash left in it is not wiped; the next hash overwrites it, or it goes back when the thread idles.
#[derive(Default)]
pub(super) struct Memory {
    blocks: Vec<Block>,
    /// Blocks that were ever handed out: the work that was done, for tests of equal work.
    #[cfg(test)]
    pub(super) handed_out: u64,
}

impl Memory {
    /// `count` blocks of any content, or none when the system has no memory for them.
    pub(super) fn blocks(&mut self, count: usize) -> Option<&mut [Block]> {
        if self.blocks.len() < count {
            self.release();
            self.blocks.try_reserve_exact(count).ok()?;
            self.blocks.resize(count, Block::new());
        }
        #[cfg(test)]
        {
            self.handed_out += count as u64;
        }
        self.blocks.get_mut(..count)
    }

    /// Gives everything back if it is more than `count` blocks.
    pub(super) fn shrink_to(&mut self, count: usize) {
        if self.blocks.len() > count {
            self.release();
        }
    }

    pub(super) fn release(&mut self) {
        self.blocks = Vec::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_up_to_the_usual_and_no_more() {
        let mut memory = Memory::default();
        assert_eq!(memory.blocks(8).map(|blocks| blocks.len()), Some(8));
        memory.shrink_to(8);
        assert_eq!(memory.blocks.len(), 8);
        assert_eq!(memory.blocks(9).map(|blocks| blocks.len()), Some(9));
        memory.shrink_to(8);
        assert!(memory.is_empty());
    }

    #[test]
    fn more_than_the_system_has_is_none() {
        assert!(Memory::default().blocks(usize::MAX / Block::SIZE).is_none());
    }
}
