//! What the two forms of a text have in common: objects whose members are of
//! interest only where they have a certain name.

use std::borrow::Cow;

/// One member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// A string, decoded.
    Text(Cow<'a, str>),
    /// A number as it is written.
    Number(&'a str),
    /// Anything else: nobody asks what.
    Other,
}

/// The members of an object that were asked for, in the order of asking. Of two
/// with the same name the last one counts.
pub(crate) type Fields<'a, const N: usize> = [Option<Field<'a>>; N];

/// What a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// What was expected.
    Right(T),
    /// Well formed, but something else.
    Other,
}
