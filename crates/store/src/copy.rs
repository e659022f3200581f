//! The binary form of `COPY`, which costs both sides a fraction of what rows of a query do.
//!
//! Source: the manual of PostgreSQL, `COPY`, "Binary Format".

use futures_util::TryStreamExt;
use sqlx::PgConnection;

use crate::StoreError;

/// Signature, no flags, no extension.
pub(crate) const HEAD: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What stands in place of a number of fields after the last row.
pub(crate) const END: i16 = -1;

/// Microseconds from the Unix epoch to that of Postgres, 1 January 2000.
pub(crate) const EPOCH_US: i64 = 946_684_800_000_000;

/// What `copy (…) to stdout (format binary)` says, whole.
///
/// # Errors
/// Whatever Postgres reports. The connection is then good for nothing: the pool closes it.
pub(crate) async fn read(
    connection: &mut PgConnection,
    statement: &str,
    capacity: usize,
) -> Result<Vec<u8>, StoreError> {
    let mut data = Vec::with_capacity(capacity);
    let mut pieces = connection.copy_out_raw(statement).await?;
    while let Some(piece) = pieces.try_next().await? {
        data.extend_from_slice(&piece);
    }
    Ok(data)
}

/// Rows of what was read, each of so many fields; null fields are `None`.
pub(crate) struct Rows<'d, const FIELDS: usize>(&'d [u8]);

impl<'d, const FIELDS: usize> Rows<'d, FIELDS> {
    /// # Errors
    /// It does not begin as it should.
    pub(crate) fn of(data: &'d [u8]) -> Result<Self, StoreError> {
        data.strip_prefix(&HEAD).map(Self).ok_or_else(broken)
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// It breaks off, or has another number of fields.
    pub(crate) fn next(&mut self) -> Result<Option<[Option<&'d [u8]>; FIELDS]>, StoreError> {
        let count = i16::from_be_bytes(*self.take()?);
        if count == END {
            return Ok(None);
        }
        if usize::try_from(count) != Ok(FIELDS) {
            return Err(broken());
        }
        let mut fields = [None; FIELDS];
        for field in &mut fields {
            let length = i32::from_be_bytes(*self.take()?);
            if let Ok(length) = usize::try_from(length) {
                let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
                (*field, self.0) = (Some(bytes), rest);
            }
        }
        Ok(Some(fields))
    }

    fn take<const N: usize>(&mut self) -> Result<&'d [u8; N], StoreError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(broken)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// The bytes of a number, a moment or a boolean that is not null.
///
/// # Errors
/// It is null, or of another type.
pub(crate) fn fixed<const N: usize>(field: Option<&[u8]>) -> Result<[u8; N], StoreError> {
    field.and_then(|bytes| bytes.try_into().ok()).ok_or_else(broken)
}

fn broken() -> StoreError {
    StoreError::Database(sqlx::Error::Decode("a COPY is not of the fields that were asked for".into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_come_field_by_field_and_end() {
        let mut data = HEAD.to_vec();
        data.extend([0, 2, 0, 0, 0, 1, 7, 255, 255, 255, 255]);
        data.extend([0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 255, 255]);
        let mut rows = Rows::<2>::of(&data).unwrap();
        assert_eq!(rows.next().unwrap(), Some([Some(&[7_u8][..]), None]));
        assert_eq!(rows.next().unwrap(), Some([Some(&[][..]), Some(&[1_u8, 2][..])]));
        assert_eq!(rows.next().unwrap(), None);
        assert_eq!(i16::from_be_bytes(fixed(Some(&[1, 2])).unwrap()), 258);
        assert!(fixed::<4>(Some(&[1, 2])).is_err() && fixed::<2>(None).is_err());
    }

    proptest! {
        #[test]
        fn what_breaks_off_or_is_something_else_is_an_error(tail in prop::collection::vec(any::<u8>(), 0..40), cut in 0..19_usize) {
            prop_assert!(Rows::<2>::of(&HEAD[..cut]).is_err());
            let data = [&HEAD[..], &tail].concat();
            let mut rows = Rows::<2>::of(&data).unwrap();
            while let Ok(Some(_)) = rows.next() {}
        }
    }
}
