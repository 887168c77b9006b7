//! The arguments of methods: what each type of field looks like, and the macro that makes methods of fields.

use bytes::{BufMut, Bytes};
use nom::{
    Parser,
    number::complete::{be_u8, be_u16, be_u32, be_u64},
};

use super::{MethodError, MethodId};
use crate::{
    encode::{put_long_str, put_short_str},
    parse::{long_str, short_str, take},
    reply::ReplyCode,
    table::{FieldTable, FieldTableRef},
    types::{Secret, ShortStr, ShortString},
};

/// Defines the methods of a class, each by its id, its name, its sender, its replies and its arguments in
/// the order of the wire. A run of `bool`s is packed into octets.
macro_rules! methods {
    (
        class $class:literal;
        $(
            $(#[$doc:meta])*
            $Name:ident = $id:literal $name:literal from $sender:ident -> [$($Reply:ident),*] {
                $($(#[$field_doc:meta])* $field:ident: $Type:ty,)*
            }
        )*
    ) => {
        use $crate::method::{
            Arguments, MethodError, MethodId, SentBy,
            argument::{ArgumentReader, ArgumentWriter, arguments_struct},
        };

        $(
            arguments_struct! {
                $(#[$doc])*
                #[doc = concat!("\n\n`", $name, "`, number ", $id, " of class ", $class, ".")]
                $Name { $($(#[$field_doc])* $field: $Type,)* }
            }

            impl Arguments for $Name {
                const ID: MethodId = MethodId { class: $class, method: $id };
                const NAME: &'static str = $name;
                const SENT_BY: SentBy = SentBy::$sender;
                const REPLIES: &'static [MethodId] = &[$($Reply::ID),*];

                fn decode_arguments(input: &[u8]) -> Result<Self, MethodError> {
                    let reader = &mut ArgumentReader::new(Self::ID, input);
                    let arguments = Self { $($field: reader.read()?,)* };
                    reader.finish()?;
                    Ok(arguments)
                }

                fn encode_arguments(&self, out: &mut Vec<u8>) {
                    let writer = &mut ArgumentWriter::new(out);
                    $(writer.write(&self.$field);)*
                    writer.finish();
                }
            }

            #[cfg(test)]
            impl $crate::tests::vectors::ListArguments for $Name {
                fn list(&self) -> serde_json::Value {
                    serde_json::json!([$($crate::tests::vectors::list_argument(
                        stringify!($field),
                        &self.$field,
                    )),*])
                }
            }
        )*
    };
}

/// Defines the struct of a method, which is a unit struct where there are no arguments.
macro_rules! arguments_struct {
    ($(#[$doc:meta])* $Name:ident {}) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $Name;
    };
    ($(#[$doc:meta])* $Name:ident { $($(#[$field_doc:meta])* $field:ident: $Type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $Name {
            $($(#[$field_doc])* pub $field: $Type,)+
        }
    };
}

pub(super) use {arguments_struct, methods};

/// A type that an argument can have.
pub(super) trait Argument: Sized {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self>;
    fn write(&self, writer: &mut ArgumentWriter<'_>);
}

/// Reads arguments one after the other.
pub(super) struct ArgumentReader<'a> {
    method: MethodId,
    rest: &'a [u8],
    /// The bits of the last octet that are not yet read, lowest first, and how many they are.
    bits: (u8, u8),
}

impl<'a> ArgumentReader<'a> {
    pub(super) fn new(method: MethodId, input: &'a [u8]) -> Self {
        Self {
            method,
            rest: input,
            bits: (0, 0),
        }
    }

    pub(super) fn read<T: Argument>(&mut self) -> Result<T, MethodError> {
        T::read(self).ok_or(MethodError::Truncated(self.method))
    }

    pub(super) fn finish(&self) -> Result<(), MethodError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(MethodError::TrailingBytes {
                method: self.method,
                count,
            }),
        }
    }

    /// Reads what is not a bit, and so ends a run of bits.
    fn take<T>(&mut self, parser: impl Parser<&'a [u8], Output = T, Error = ()>) -> Option<T> {
        self.bits = (0, 0);
        take(&mut self.rest, parser)
    }

    /// Consecutive bits are packed into octets from the lowest bit up (AMQP 0-9-1 §4.2.5.2).
    fn take_bit(&mut self) -> Option<bool> {
        let (octet, left) = match self.bits {
            (_, 0) => (take(&mut self.rest, be_u8)?, 8),
            bits => bits,
        };
        self.bits = (octet >> 1, left - 1);
        Some(octet & 1 == 1)
    }
}

/// Writes arguments one after the other.
pub(super) struct ArgumentWriter<'a> {
    out: &'a mut Vec<u8>,
    /// The bits that are not yet written, lowest first, and how many they are.
    bits: (u8, u8),
}

impl<'a> ArgumentWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, bits: (0, 0) }
    }

    pub(super) fn write<T: Argument>(&mut self, argument: &T) {
        argument.write(self);
    }

    /// Where to write what is not a bit, and so ends a run of bits.
    fn out(&mut self) -> &mut Vec<u8> {
        if let (octet, 1..) = std::mem::take(&mut self.bits) {
            self.out.put_u8(octet);
        }
        self.out
    }

    fn put_bit(&mut self, bit: bool) {
        if self.bits.1 == 8 {
            self.finish();
        }
        let (octet, count) = self.bits;
        self.bits = (octet | u8::from(bit) << count, count + 1);
    }

    pub(super) fn finish(&mut self) {
        self.out();
    }
}

impl Argument for bool {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        reader.take_bit()
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        writer.put_bit(*self);
    }
}

impl Argument for u8 {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        reader.take(be_u8)
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        writer.out().put_u8(*self);
    }
}

impl Argument for u16 {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        reader.take(be_u16)
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        writer.out().put_u16(*self);
    }
}

impl Argument for u32 {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        reader.take(be_u32)
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        writer.out().put_u32(*self);
    }
}

impl Argument for u64 {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        reader.take(be_u64)
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        writer.out().put_u64(*self);
    }
}

impl Argument for ReplyCode {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        reader.take(be_u16).map(Self)
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        writer.out().put_u16(self.0);
    }
}

impl Argument for ShortString {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        reader.take(short_str).map(ShortStr::to_owned)
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        put_short_str(writer.out(), self.as_short_str());
    }
}

impl Argument for Bytes {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        reader.take(long_str).map(Self::copy_from_slice)
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        put_long_str(writer.out(), self);
    }
}

impl Argument for Secret {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        Bytes::read(reader).map(Self::from)
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        put_long_str(writer.out(), self.as_bytes());
    }
}

impl Argument for FieldTable {
    fn read(reader: &mut ArgumentReader<'_>) -> Option<Self> {
        let entries = reader.take(long_str)?;
        Some(FieldTableRef::new(entries).to_owned())
    }

    fn write(&self, writer: &mut ArgumentWriter<'_>) {
        put_long_str(writer.out(), self.as_bytes());
    }
}
