//! What a person is told whose command line is not understood.

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The error with the usage of its command as that is, for what comes from the environment stands there as if it were needed;
/// and where a verb was taken for a command, with the commands that have it.
pub(super) fn told(mut error: clap::Error, command: &mut Command, arguments: &[String]) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
    {
        let having = having(command, word);
        if !having.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(having));
        }
    }
    if error.get(ContextKind::Usage).is_some() {
        command.build();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage(command, arguments)));
    }
    error
}

/// The commands that have a verb.
fn having(command: &Command, verb: &str) -> Vec<String> {
    let has = |group: &&Command| group.get_subcommands().any(|known| known.get_name() == verb);
    let groups = command.get_subcommands().filter(has);
    groups.map(|group| format!("{} {verb}", group.get_name())).collect()
}

/// The usage of the command that the words lead to.
fn usage(command: &mut Command, words: &[String]) -> StyledStr {
    let is_next = |word: &String| !word.starts_with('-') && command.find_subcommand(word).is_some();
    if let Some(at) = words.iter().position(is_next)
        && let Some(inner) = words.get(at).and_then(|word| command.find_subcommand_mut(word))
    {
        return usage(inner, words.get(at + 1..).unwrap_or_default());
    }
    command.render_usage()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn said(line: &str) -> String {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut command = Cli::command();
        let error = command.try_get_matches_from_mut(&arguments).unwrap_err();
        told(error, &mut command, arguments.get(1..).unwrap_or_default()).to_string()
    }

    #[test]
    fn what_is_out_of_bounds_or_empty_is_told_before_anybody_is_asked() {
        for (line, words) in [
            ("omgate systems pause ", "invalid value '' for '<NAME>': it is empty"),
            ("omgate destinations show ", "invalid value '' for '<NAME>': it is empty"),
            ("omgate sources show ", "invalid value '' for '<NAME>': it is empty"),
            ("omgate why ", "invalid value '' for '<ID>': it is empty"),
            ("omgate notifications show ", "invalid value '' for '<ID>': it is empty"),
            ("omgate deliveries show ", "invalid value '' for '<ID>': it must be a number from 1"),
            ("omgate token revoke ", "invalid value '' for '<ID>': it is empty"),
            ("omgate lanes show erp ", "invalid value '' for '<LANE>': it is empty"),
            ("omgate sources gaps --days 367", "367 is not in 1..=366"),
            ("omgate token create --name ci --expires 0d", "'--expires <DURATION>': a token counts from 1 minute to"),
            ("omgate token create --name ci --expires 732d", "'--expires <DURATION>': a token counts from 1 minute to"),
        ] {
            let told = said(line);
            assert!(told.contains(words), "{line}: {told}");
        }
    }

    #[test]
    fn a_verb_that_is_taken_for_a_command_leads_to_those_that_have_it() {
        for (line, commands) in [
            ("omgate pause erp", &["destinations pause", "systems pause", "jobs pause"][..]),
            ("omgate resume erp", &["destinations resume", "systems resume"]),
            ("omgate replay 1", &["deliveries replay", "dead replay"]),
            ("omgate reroute", &["notifications reroute"]),
        ] {
            let said = said(line);
            assert!(commands.iter().all(|command| said.contains(&format!("'{command}'"))), "{said}");
        }
        assert!(said("omgate deliverys list").contains("'deliveries'"), "a slip is still told as one");
    }

    #[test]
    fn the_usage_names_what_is_needed_and_nothing_that_is_given_already() {
        let said = said("omgate why --token secret --admin http://127.0.0.1:1");
        assert!(said.contains("Usage: omgate why [OPTIONS] <ID>"), "{said}");
        assert!(!said.contains("--token"), "{said}");
    }
}
