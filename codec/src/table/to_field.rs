use std::borrow::Cow;

use super::{FieldValue, TableError};
use crate::types::{ShortStr, ShortString};

/// What can be put into a field table or an array: whatever is a [`FieldValue`], and texts and numbers
/// as programs have them at hand.
///
/// It is for this crate to implement.
///
/// ```
/// use snowshoe_codec::{FieldTable, TableError};
///
/// let host = String::from("shed-7");
/// let retries: usize = 3;
/// let table = FieldTable::new().with("host", host)?.with("retries", retries)?;
/// assert!(FieldTable::new().with("bytes", u64::MAX).is_err());
/// # Ok::<(), TableError>(())
/// ```
pub trait ToField: sealed::ToField {}

impl<T: sealed::ToField> ToField for T {}

pub(super) mod sealed {
    use super::{FieldValue, TableError};

    pub trait ToField: Sized {
        /// Hands the value on as what goes over the wire.
        fn with_field<R>(
            self,
            put: impl FnOnce(FieldValue<'_>) -> Result<R, TableError>,
        ) -> Result<R, TableError>;
    }
}

impl<'v, T: Into<FieldValue<'v>>> sealed::ToField for T {
    fn with_field<R>(
        self,
        put: impl FnOnce(FieldValue<'_>) -> Result<R, TableError>,
    ) -> Result<R, TableError> {
        put(self.into())
    }
}

macro_rules! fields {
    ($($Type:ty),* => |$value:ident| $field:expr) => {
        $(impl sealed::ToField for $Type {
            fn with_field<R>(
                self,
                put: impl FnOnce(FieldValue<'_>) -> Result<R, TableError>,
            ) -> Result<R, TableError> {
                let $value = self;
                put($field)
            }
        })*
    };
}

// Brokers know no whole numbers over 63 bits.
fields! {
    isize, u64, usize, i128, u128 => |number| {
        FieldValue::I64(i64::try_from(number).map_err(|_| TableError::OutOfRange)?)
    }
}

fields! {
    String, Box<str>, Cow<'_, str>, &Cow<'_, str>, ShortStr<'_>, ShortString, &ShortString => |text| {
        FieldValue::LongString(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::FieldTable;

    #[test]
    fn what_programs_have_at_hand_is_written_as_brokers_know_it() {
        let text = || String::from("text");
        let (owned, cow) = (text(), Cow::from("text"));
        let short = ShortString::from_static("text");
        let tables = [
            FieldTable::new().with("k", text()),
            FieldTable::new().with("k", &owned),
            FieldTable::new().with("k", &cow),
            FieldTable::new().with("k", cow),
            FieldTable::new().with("k", text().into_boxed_str()),
            FieldTable::new().with("k", &short),
            FieldTable::new().with("k", short.as_short_str()),
            FieldTable::new().with("k", short),
        ];
        let expected = FieldTable::new().with("k", "text");
        assert!(tables.iter().all(|it| *it == expected));

        let expected = FieldTable::new().with("k", 7_i64);
        assert_eq!(FieldTable::new().with("k", 7_usize), expected);
        assert_eq!(FieldTable::new().with("k", 7_u64), expected);
        assert_eq!(FieldTable::new().with("k", 7_isize), expected);
        assert_eq!(FieldTable::new().with("k", 7_u128), expected);
    }

    #[test]
    fn a_number_that_no_broker_knows_is_refused() {
        let refused = Err(TableError::OutOfRange);
        assert_eq!(FieldTable::new().with("k", u64::MAX), refused);
        assert_eq!(FieldTable::new().with("k", usize::MAX), refused);
        assert_eq!(FieldTable::new().with("k", i128::MIN), refused);
    }
}
