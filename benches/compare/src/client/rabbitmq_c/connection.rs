//! The only unsafe code here: what `calls.c` has.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Result;

/// A connection, which lives as long as the process.
pub(super) struct Connection {
    raw: *mut Raw,
    last_channel: Cell<u16>,
}

impl Connection {
    pub(super) fn connect(url: &str) -> Result<Self> {
        let mut url = CString::new(url)?.into_bytes_with_nul();
        let mut raw = ptr::null_mut();
        // SAFETY: the string ends with its nul, may be changed, and is not kept; the place for the
        // connection is valid during the call.
        said(unsafe { compare_connect(url.as_mut_ptr().cast(), &mut raw) })?;
        Ok(Self {
            raw,
            last_channel: Cell::new(0),
        })
    }

    /// Opens the next channel.
    pub(super) fn open(&self, confirms: bool) -> Result<u16> {
        let channel = self.last_channel.get() + 1;
        self.last_channel.set(channel);
        // SAFETY: as for all calls below, the connection was made by `connect`, is never freed, and
        // its pointer keeps it on this thread; no call runs during another.
        said(unsafe { compare_open(self.raw, channel, confirms) })?;
        Ok(channel)
    }

    pub(super) fn publish(&self, channel: u16, queue: &str, body: &[u8]) -> Result<()> {
        let (queue, body) = (View::new(queue.as_bytes()), View::new(body));
        // SAFETY: as in `open`; what the views show is only read, and only during the call.
        said(unsafe { compare_publish(self.raw, channel, queue, body) })
    }

    /// Waits for a confirm: its delivery tag, and whether it is for all before, too.
    pub(super) fn confirm(&self, channel: u16) -> Result<(u64, bool)> {
        let (mut tag, mut multiple) = (0, false);
        // SAFETY: as in `open`; both places are valid during the call.
        said(unsafe { compare_confirm(self.raw, channel, &mut tag, &mut multiple) })?;
        Ok((tag, multiple))
    }

    /// A prefetch of `None` is a consumer without acknowledgements.
    pub(super) fn consume(&self, channel: u16, queue: &str, prefetch: Option<u16>) -> Result<()> {
        let queue = View::new(queue.as_bytes());
        let prefetch = prefetch.map_or(-1, i32::from);
        // SAFETY: as in `open`; what the view shows is only read, and only during the call.
        said(unsafe { compare_consume(self.raw, channel, queue, prefetch) })
    }

    /// Takes so many messages, and acknowledges them together if they are to be.
    pub(super) fn receive(&self, channel: u16, messages: usize, acked: bool) -> Result<()> {
        // SAFETY: as in `open`.
        said(unsafe { compare_receive(self.raw, channel, messages, acked) })
    }
}

/// How many allocations the process has made, in the executable that counts them.
pub(in crate::client) fn allocations() -> u64 {
    // SAFETY: the counter is atomic on both sides, and nothing else.
    unsafe { &compare_allocations }.load(Ordering::Relaxed)
}

fn said(error: *const c_char) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: what is no null is a string that lasts.
    let error = unsafe { CStr::from_ptr(error) };
    Err(error.to_string_lossy().into())
}

/// `amqp_connection_state_t` points to it.
#[repr(C)]
struct Raw {
    _opaque: [u8; 0],
}

/// `amqp_bytes_t`.
#[repr(C)]
struct View<'a> {
    length: usize,
    bytes: *const u8,
    shown: PhantomData<&'a [u8]>,
}

impl<'a> View<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            length: bytes.len(),
            bytes: bytes.as_ptr(),
            shown: PhantomData,
        }
    }
}

unsafe extern "C" {
    static compare_allocations: AtomicU64;

    fn compare_connect(url: *mut c_char, connection: &mut *mut Raw) -> *const c_char;
    fn compare_open(connection: *mut Raw, channel: u16, confirms: bool) -> *const c_char;
    fn compare_publish(
        connection: *mut Raw,
        channel: u16,
        queue: View<'_>,
        body: View<'_>,
    ) -> *const c_char;
    fn compare_confirm(
        connection: *mut Raw,
        channel: u16,
        tag: &mut u64,
        multiple: &mut bool,
    ) -> *const c_char;
    fn compare_consume(
        connection: *mut Raw,
        channel: u16,
        queue: View<'_>,
        prefetch: i32,
    ) -> *const c_char;
    fn compare_receive(
        connection: *mut Raw,
        channel: u16,
        messages: usize,
        acked: bool,
    ) -> *const c_char;
}
