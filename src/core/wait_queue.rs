//! Who goes next, among those that wait for the same thing.

use super::keyed_queue::KeyedQueue;

/// A line in which only the first may go, and nobody passes anybody. `W` wakes whoever waits.
///
/// An asynchronous mutex would not do: whoever comes along just when it is free gets it, ahead of
/// those that wait.
#[derive(Debug)]
pub struct WaitQueue<W> {
    /// By ticket.
    line: KeyedQueue<Option<W>>,
    next_ticket: u64,
}

impl<W> WaitQueue<W> {
    pub const fn new() -> Self {
        Self {
            line: KeyedQueue::new(),
            next_ticket: 0,
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Stands at the end of the line; the ticket says where that is.
    pub fn join(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.line.push(ticket, None);
        ticket
    }

    pub fn is_first(&self, ticket: u64) -> bool {
        self.line.first().is_some_and(|(first, _)| first == ticket)
    }

    /// Asks to be woken on becoming the first.
    pub fn wait(&mut self, ticket: u64, waiter: W) {
        if let Some(place) = self.line.get_mut(ticket) {
            *place = Some(waiter);
        }
    }

    /// Leaves the line, from wherever. Gives whoever has become the first by that.
    pub fn leave(&mut self, ticket: u64) -> Option<W> {
        let was_first = self.is_first(ticket);
        self.line.remove(ticket);
        let (next, _) = self.line.first().filter(|_| was_first)?;
        self.line.get_mut(next)?.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_in_the_order_of_their_coming() {
        let mut queue = WaitQueue::new();
        let tickets = [queue.join(), queue.join(), queue.join()];
        for (ticket, name) in tickets.into_iter().zip(["first", "second", "third"]) {
            queue.wait(ticket, name);
        }
        assert!(queue.is_first(tickets[0]));
        assert_eq!(queue.leave(tickets[0]), Some("second"));
        let latecomer = queue.join();
        assert!(queue.is_first(tickets[1]) && !queue.is_first(latecomer));
    }

    #[test]
    fn who_leaves_the_middle_of_the_line_wakes_nobody() {
        let mut queue = WaitQueue::new();
        let tickets = [queue.join(), queue.join(), queue.join()];
        queue.wait(tickets[2], "third");
        assert_eq!(queue.leave(tickets[1]), None);
        assert_eq!(queue.leave(tickets[0]), Some("third"));
        assert_eq!(queue.leave(tickets[2]), None);
        assert!(queue.is_empty());
    }
}
