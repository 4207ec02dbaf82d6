//! Contacts.

use tidings_domain::address::PhoneNumber;
use tidings_domain::contact::{Contact, Excess, Group};
use tidings_domain::id::*;

/// What became of a contact that was to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// It is so now.
    Done(Box<Contact>),
    /// This number is another contact's; nothing was done.
    Taken(PhoneNumber, ContactId),
    /// It would have too much; nothing was done.
    TooMuch(Excess),
}

/// Which contacts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContactFilter {
    /// Who has this number.
    pub number: Option<PhoneNumber>,
    /// Who is in this group.
    pub group: Option<Group>,
}
