//! Text that may hold a zero byte, which PostgreSQL does not take.
//!
//! JSON can say `\u0000`, and a store gives back what it was given. The last code point, which is
//! assigned to nothing for ever, announces what it stands for: itself, or a zero. Ids need none of
//! this: they have no control characters, and are stored as they are.

use std::borrow::Cow;

const MARK: char = '\u{10FFFF}';
const ZERO: &str = "\u{10FFFF}0";
const MARKED: &str = "\u{10FFFF}1";

/// The text as PostgreSQL takes it.
pub(super) fn to_sql(text: &str) -> Cow<'_, str> {
    // The first byte of the mark begins other rare characters too: a quick test for the usual text.
    if !text.bytes().any(|byte| byte == 0 || byte == 0xf4) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(MARK, MARKED).replace('\0', ZERO))
}

/// What was given to [`to_sql`].
pub(super) fn from_sql(text: String) -> String {
    if !text.contains(MARK) {
        return text;
    }
    text.replace(ZERO, "\0").replace(MARKED, "\u{10FFFF}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_comes_back_and_holds_no_zero_meanwhile(
            text in "([\0\u{10FFFF}01a\u{100000}]|\\PC){0,20}", other in "[\0\u{10FFFF}01]{0,6}",
        ) {
            let stored = to_sql(&text).into_owned();
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(stored == to_sql(&other), text == other);
            prop_assert_eq!(from_sql(stored), text);
        }
    }
}
