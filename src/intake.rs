//! The driver of the way in: receive → parse → route → store → answer.
