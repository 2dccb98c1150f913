//! `[[account]]`.

use super::read::Section;
use crate::account::{self, Account, PasswordHash, Right, Rights, Role};

/// More of them are a directory's work.
const ACCOUNTS_MAX: usize = 1_000;

pub(super) fn accounts(root: &Section<'_, '_>) -> Vec<Account> {
    let sections = root.sections("account");
    if let Some(section) = sections.get(ACCOUNTS_MAX) {
        section.desk.error(&section.spot, format!("there may be at most {ACCOUNTS_MAX} accounts"));
    }
    let mut accounts: Vec<Account> = Vec::new();
    for section in sections {
        let Some(account) = read(&section) else {
            section.finish();
            continue;
        };
        if accounts.iter().any(|other| other.name.eq_ignore_ascii_case(&account.name)) {
            let reason = format!("there is another account {:?}; names differ by more than their case", account.name);
            section.desk.error(&section.spot_of("name"), reason);
        }
        accounts.push(account);
        section.finish();
    }
    accounts
}

fn read(section: &Section<'_, '_>) -> Option<Account> {
    let name = section.required("name");
    if let Some((name, fault)) = name.as_ref().and_then(|name| Some((name, account::fault_of_name(&name.value)?))) {
        section.desk.error(&name.spot, fault);
    }
    if !section.has("password") {
        let reason = "key `password` is missing: the hash that `omgate account hash` makes";
        section.desk.error(&section.spot, reason);
    }
    // Never by way of what shows a value that does not fit: somebody may have written the password itself.
    let password = section.text("password").and_then(|field| match PasswordHash::parse(&field.value.reveal()) {
        Ok(hash) => Some(hash),
        Err(reason) => {
            section.desk.error(&field.spot, reason);
            None
        }
    });
    let (role, rights) = role_and_rights(section);
    Some(Account { name: name?.value, password: password?, role, rights })
}

/// `role`, and what it comes to with `rights`.
pub(super) fn role_and_rights(section: &Section<'_, '_>) -> (Role, Rights) {
    let roles = Role::ALL.map(|role| (role.as_str(), role));
    let role = section.choice("role", &roles).map_or(Role::Viewer, |field| field.value);
    let mut added = Vec::new();
    for field in section.list("rights").unwrap_or_default() {
        match Right::added(&field.value) {
            Some(right) => added.push(right),
            None => {
                let known = Right::ADDED.map(Right::as_str);
                let reason = format!("{:?} is no right that can be added; those are {}", field.value, known.join(", "));
                section.desk.unknown(&field.spot, reason, &field.value, known.into_iter());
            }
        }
    }
    (role, Rights::of(role, &added))
}
