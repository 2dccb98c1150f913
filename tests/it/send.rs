//! TAKEN OVER BY THE LEAD: leave this file alone (see NOTE-FROM-LEAD.md at the top of this worktree).
