//! Bytes off the wire made fit for a log line: the peer chose them, so they may hold
//! control sequences, line breaks and anything but UTF-8.

use std::fmt::{self, Write as _};

/// How much of one value `Debug` shows before it says `…`.
const DEBUG_LIMIT: usize = 1024;

/// Displays bytes as text: lossy, and with whatever could restyle or split a line escaped.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                if char.is_control() || changes_layout(char) {
                    write!(f, "{}", char.escape_default())?;
                } else {
                    f.write_char(char)?;
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

/// Line separators and changes of the writing direction, which are no control characters to Unicode.
fn changes_layout(char: char) -> bool {
    matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Shows bytes as a quoted string literal, exactly: what is not UTF-8 appears as `\xNN`.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        f.write_char('"')
    }
}

/// Writes `value` as `Debug` does, and `…` in the place of all that is beyond [`DEBUG_LIMIT`].
pub(crate) fn debug_bounded(f: &mut fmt::Formatter<'_>, value: &dyn fmt::Debug) -> fmt::Result {
    let alternate = f.alternate();
    let mut bounded = Bounded {
        inner: f,
        left: DEBUG_LIMIT,
        cut: false,
    };
    let written = match alternate {
        true => write!(bounded, "{value:#?}"),
        false => write!(bounded, "{value:?}"),
    };
    match written {
        Err(fmt::Error) if bounded.cut => f.write_char('…'),
        written => written,
    }
}

/// Fails the write that would pass the limit, so that nothing is formatted in vain after it.
struct Bounded<'a, 'f> {
    inner: &'a mut fmt::Formatter<'f>,
    left: usize,
    cut: bool,
}

impl fmt::Write for Bounded<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(left) = self.left.checked_sub(text.len()) else {
            self.cut = true;
            return Err(fmt::Error);
        };
        self.left = left;
        self.inner.write_str(text)
    }
}
