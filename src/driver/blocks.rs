//! Memory to read into.

use std::collections::VecDeque;
use std::mem;

use bytes::BytesMut;

/// The blocks that a connection reads into, in all its lives.
///
/// Messages share the block that they were read into. Where they are dropped soon, nothing is copied,
/// and the block is read into again; but one that is kept keeps all of its block, and one in a
/// thousand of a busy connection's, all that was ever read. So blocks are looked after until they come
/// back. Once those of which somebody has a part come to [`SHARED`], short messages are copied out of
/// the next ones, until some are back: what is kept then takes its own size, or a few times that.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Zeroed memory to read into next: what is left of a block.
    room: BytesMut,
    /// The size of that block, and whether short messages may share it.
    size: usize,
    is_shared: bool,
    /// How much to allocate next: grows and shrinks with what a read brings.
    next_size: usize,
    /// Blocks that were filled and shared, oldest first, to be read into again once nobody has a part
    /// of them any more. Others are here only once that is so.
    spent: VecDeque<Spent>,
}

/// A block that was filled.
#[derive(Debug)]
struct Spent {
    memory: BytesMut,
    size: usize,
}

/// The size of a block on a quiet connection, and on a busy one: about that of a core's cache.
const SIZES: (usize, usize) = (16 * 1024, 256 * 1024);

/// A block with less room than this is not worth a read.
const LEAST_ROOM: usize = 4 * 1024;

/// How much blocks may come to of which somebody has a part, before short messages are copied; and how
/// much is kept to be read into again. New memory costs more than to read it full, as the system
/// clears each of its pages when it is first touched.
const SHARED: usize = 1024 * 1024;

/// A message that is no shorter than such a part of its block may keep it.
const LONG: usize = 4;

impl Blocks {
    pub(super) fn new() -> Self {
        Self {
            room: BytesMut::new(),
            size: 0,
            is_shared: true,
            next_size: SIZES.0,
            spent: VecDeque::new(),
        }
    }

    /// Memory to read into, which continues `input`. What is there of a frame moves along where another
    /// block is begun, and the rest of it is to have room.
    pub(super) fn room(&mut self, input: &mut BytesMut) -> &mut BytesMut {
        if self.room.len() < LEAST_ROOM {
            self.begin(input);
        }
        &mut self.room
    }

    /// So much was read, all of it into the room there was.
    pub(super) fn take(&mut self, len: usize) -> BytesMut {
        let (smallest, largest) = SIZES;
        if len == self.room.len() {
            self.next_size = (self.next_size * 2).min(largest);
        } else if len < self.next_size / 8 {
            self.next_size = (self.next_size / 2).max(smallest);
            self.spent.retain_mut(|spent| !spent.is_back());
        }
        self.room.split_to(len)
    }

    /// From which length on messages may share the block that is read into. Shorter ones are to be
    /// copied.
    pub(super) fn share_from(&self) -> usize {
        if self.is_shared { 0 } else { self.size / LONG }
    }

    /// Another life of the connection begins. What was read in the one before is looked after all the
    /// same.
    pub(super) fn begin_life(&mut self) {
        self.retire();
    }

    fn begin(&mut self, input: &mut BytesMut) {
        let begun = input.len();
        let size = self.next_size.max(2 * begun);
        let (mut block, size) = self.recycled(size);
        block[..begun].copy_from_slice(input);
        *input = block.split_to(begun);
        self.retire();
        (self.room, self.size) = (block, size);
        self.is_shared = self.kept() < SHARED;
    }

    /// Memory for a block of at least so many bytes: that of a spent one which is back, if there is one.
    fn recycled(&mut self, size: usize) -> (BytesMut, usize) {
        let fits = |spent: &mut Spent| spent.size >= size && spent.is_back();
        let found = self.spent.iter_mut().position(fits);
        match found.and_then(|index| self.spent.remove(index)) {
            Some(Spent { mut memory, size }) => {
                memory.resize(size, 0);
                (memory, size)
            }
            None => (BytesMut::zeroed(size), size),
        }
    }

    /// Lets go of the block that was read into.
    fn retire(&mut self) {
        let mut memory = mem::take(&mut self.room);
        memory.clear();
        let size = mem::take(&mut self.size);
        let mut spent = Spent { memory, size };
        // Of one that short messages do not share, somebody may have a part that is worth it.
        if size > 0 && (self.is_shared || spent.is_back()) {
            self.spent.push_back(spent);
        }
    }

    /// How much the blocks come to of which somebody has a part. Of the others, some are dropped if
    /// there are many.
    fn kept(&mut self) -> usize {
        let (mut kept, mut back) = (0, 0);
        self.spent.retain_mut(|spent| {
            if !spent.is_back() {
                kept += spent.size;
                return true;
            }
            back += spent.size;
            back <= SHARED
        });
        kept
    }

    /// How many bytes are looked after.
    #[cfg(all(test, not(snowshoe_loom)))]
    fn looked_after(&self) -> usize {
        self.size + self.spent.iter().map(|spent| spent.size).sum::<usize>()
    }
}

impl Spent {
    /// Whether nobody has a part of it any more: only then there is room for so much.
    fn is_back(&mut self) -> bool {
        self.memory.try_reclaim(self.size)
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Fills a block, and gives the first of the bytes read as somebody's part of it.
    fn fill(blocks: &mut Blocks, input: &mut BytesMut, part: usize) -> Bytes {
        let size = blocks.room(input).len();
        input.unsplit(blocks.take(size));
        let part = input.split_to(part).freeze();
        input.clear();
        part
    }

    #[test]
    fn a_block_is_read_into_again_unless_somebody_has_a_part_of_it() {
        for is_kept in [false, true] {
            let (mut blocks, mut input) = (Blocks::new(), BytesMut::new());
            // By then no larger ones are wanted.
            while blocks.size < SIZES.1 {
                drop(fill(&mut blocks, &mut input, 10));
            }
            let first = blocks.room(&mut input).as_ptr();
            let part = fill(&mut blocks, &mut input, 10);
            let part = is_kept.then_some(part);
            let came_back = (0..20).any(|_| {
                drop(fill(&mut blocks, &mut input, 10));
                blocks.room(&mut input).as_ptr() == first
            });
            assert_eq!(came_back, !is_kept);
            drop(part);
        }
    }

    // case G1
    #[test]
    fn short_messages_share_blocks_while_those_that_are_kept_come_to_little() {
        let (mut blocks, mut input) = (Blocks::new(), BytesMut::new());
        let mut kept = Vec::new();
        while blocks.share_from() == 0 {
            assert!(blocks.looked_after() <= SHARED + 2 * SIZES.1);
            kept.push(fill(&mut blocks, &mut input, 10));
        }
        // From now on the same two are read into, and long messages alone keep others.
        let mut places = Vec::new();
        for _ in 0..100 {
            assert_eq!(blocks.share_from(), SIZES.1 / LONG);
            places.push(blocks.room(&mut input).as_ptr());
            drop(fill(&mut blocks, &mut input, 10));
        }
        places.sort_unstable();
        places.dedup();
        assert!(places.len() <= 2, "{places:?}");
        let long: Vec<_> = (0..100)
            .map(|_| fill(&mut blocks, &mut input, SIZES.1 / LONG))
            .collect();
        assert_eq!(blocks.share_from(), SIZES.1 / LONG);
        assert!(blocks.looked_after() <= SHARED + 3 * SIZES.1);
        drop(long);

        // Those that are back are shared again.
        kept.truncate(kept.len() / 2);
        drop(fill(&mut blocks, &mut input, 10));
        blocks.begin(&mut input);
        assert_eq!(blocks.share_from(), 0);
    }

    // case G1
    #[test]
    fn what_is_kept_counts_through_quiet_times_and_lives_of_the_connection() {
        for pause in [Blocks::begin_life, |blocks: &mut Blocks| {
            drop(blocks.take(1));
        }] {
            let (mut blocks, mut input) = (Blocks::new(), BytesMut::new());
            let mut kept = Vec::new();
            for _ in 0..1000 {
                let room = blocks.room(&mut input).len().min(100);
                if blocks.share_from() > 0 {
                    break;
                }
                input.unsplit(blocks.take(room));
                kept.push(mem::take(&mut input).freeze());
                pause(&mut blocks);
                if !blocks.room.is_empty() {
                    kept.push(fill(&mut blocks, &mut input, 10));
                }
            }
            assert!(blocks.share_from() > 0);
            assert!(blocks.looked_after() <= SHARED + 2 * SIZES.1);
        }
    }
}
