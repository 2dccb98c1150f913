//! Every test of the contract once more, over PostgreSQL, and with payloads sealed.
#![cfg_attr(not(feature = "postgres"), allow(dead_code, unused_imports, reason = "there is only SQLite"))]

use std::cell::RefCell;

use super::*;

thread_local! {
    /// The database of the test that runs on this thread, when it runs over PostgreSQL: another one for each world.
    static ON_POSTGRES: RefCell<bool> = const { RefCell::new(false) };
    /// Whether the test that runs on this thread has its payloads sealed.
    static SEALED: RefCell<bool> = const { RefCell::new(false) };
}

/// Whether the world that is being made has its payloads sealed.
pub(super) fn is_sealed() -> bool {
    SEALED.with_borrow(|sealed| *sealed)
}

/// Runs a test of the contract with payloads sealed, over SQLite.
fn sealed(test: fn()) {
    SEALED.set(true);
    test();
}

/// A database for the world that is being made; none when the test runs over SQLite.
pub(super) fn database() -> Option<String> {
    #[cfg(feature = "postgres")]
    if ON_POSTGRES.with_borrow(|on| *on) {
        return crate::postgres::database();
    }
    None
}

#[cfg(feature = "postgres")]
pub(super) fn open(url: &str, clock: Arc<HandClock>, hold_unknown: Vec<String>) -> Opened {
    use omgate::clock::SystemClock;
    use omgate::store::postgres::Options;

    let options = Options {
        connections: 8,
        hold_unknown,
        time: Some(clock),
        ..Options::new(crate::postgres::address(url), SystemClock::shared())
    };
    Opened::Postgres(crate::postgres::wait(PostgresStore::open(options)).unwrap())
}

#[cfg(not(feature = "postgres"))]
pub(super) fn open(_: &str, _: Arc<HandClock>, _: Vec<String>) -> Opened {
    unreachable!("no world has a database of PostgreSQL")
}

impl Drop for World {
    fn drop(&mut self) {
        self.store = None;
        #[cfg(feature = "postgres")]
        if let Some(url) = &self.database {
            crate::postgres::remove(url);
        }
    }
}

/// Runs a test of the contract over PostgreSQL.
#[cfg(feature = "postgres")]
fn on_postgres(test: fn()) {
    if crate::postgres::server().is_some() {
        ON_POSTGRES.set(true);
        test();
    }
}

/// The tests of the contract, each with its module.
macro_rules! contract {
    ($($module:ident: $($name:ident),* $(,)?;)*) => {
        #[cfg(feature = "postgres")]
        mod postgres {
            $($(
                #[test]
                fn $name() {
                    super::on_postgres(super::contract::$module::$name);
                }
            )*)*
        }

        mod sealed {
            $($(
                #[test]
                fn $name() {
                    super::sealed(super::contract::$module::$name);
                }
            )*)*
        }

        const LISTED: &[&str] = &[$($(stringify!($name)),*),*];
    };
}

/// The modules of the contract, by their names here.
mod contract {
    pub(super) use super::super as store;
    pub(super) use super::super::{configurations, damage, keep, lists, model, replay, sealing};
}

contract! {
    store:
        an_unrouted_notification_gets_the_deliveries_that_routes_make_of_it_now,
        a_quarantined_notification_gets_its_deliveries_when_its_sender_is_adopted,
        what_is_routed_again_even_if_newer_goes_out_whatever_else_there_is_of_its_record,
        of_several_waiting_updates_of_a_record_only_the_newest_goes_out,
        what_is_released_gives_way_to_the_newest_update_that_waits_or_takes_its_place,
        what_is_released_leaves_alone_what_was_attempted_what_is_held_and_what_is_of_another_record_or_way,
        what_was_revised_while_it_was_held_is_the_newest_when_it_is_released,
        those_that_come_after_what_gave_way_when_it_was_released_hear_of_it,
        what_was_attempted_or_is_not_waiting_gives_way_to_no_update,
        an_older_state_that_comes_late_gives_way_itself,
        whoever_stood_behind_an_update_that_gave_way_goes_on,
        each_notification_is_exactly_one_of_the_five_kinds,
        what_is_new_and_due_wakes_its_system_once,
        the_same_content_is_a_duplicate_within_an_envelope_and_between_envelopes,
        a_duplicate_from_another_source_is_counted_where_it_came_in,
        duplicates_in_many_commands_at_once_are_resolved_without_an_error,
        one_route_makes_one_delivery_even_when_it_is_planned_twice,
        what_routing_knows_to_be_undeliverable_is_dead_at_once_and_stops_no_lane,
        odd_texts_come_back_as_they_went_in,
        a_revision_replaces_the_content_of_what_was_never_tried,
        a_revision_never_goes_out_before_an_older_state_of_its_record,
        a_revision_goes_behind_a_dead_letter_of_its_record_so_that_replaying_that_is_refused_as_outdated,
        the_revisions_of_both_deliveries_of_one_notification_replace_them_in_place,
        what_stands_for_another_notification_is_not_lost_when_its_own_no_longer_matches,
        what_a_revision_supersedes_names_what_took_its_place,
        a_revision_in_another_lane_supersedes_and_makes_a_new_one,
        a_revision_that_no_longer_matches_supersedes_what_was_never_tried,
        a_revision_that_changes_the_lanes_of_two_routes_at_once_keeps_the_accounts,
        a_revision_goes_behind_what_is_in_flight_or_was_tried,
        a_revision_that_no_longer_matches_leaves_what_was_tried,
        a_revision_of_what_was_delivered_is_a_new_delivery,
        a_revision_of_a_dead_letter_takes_its_place,
        a_revision_brings_life_to_what_was_given_up_and_to_new_routes,
        a_revision_that_fails_in_routing_supersedes_the_old_and_is_a_dead_letter,
        a_revision_to_another_destination_of_the_route_supersedes,
        a_route_that_ignores_revisions_is_left_alone_whether_it_matches_or_not,
        what_waits_for_its_route_to_come_back_carries_the_newest_revision,
        behind_what_was_tried_given_up_or_made_by_a_person_a_revision_waits_for_the_absent_route,
        what_waits_for_its_route_to_come_back_does_not_overtake_an_older_state_of_its_record,
        a_revision_that_is_routed_at_last_moves_the_notification_to_routed,
        a_quarantined_notification_that_comes_again_from_a_known_sender_is_routed,
        many_revisions_replace_what_was_never_tried,
        records_are_read_by_their_rows_and_of_rows_that_are_not_there_none,
        a_notification_can_be_found_by_its_id_or_by_any_of_its_rows,
        a_claim_takes_what_fell_due_first_and_no_more_than_it_asked_for,
        a_claim_may_ask_for_what_fell_due_last,
        a_claim_passes_by_other_destinations_routes_and_systems,
        a_claim_that_finds_too_little_says_when_the_next_falls_due,
        a_claim_carries_all_that_mapping_needs,
        a_lane_goes_on_one_by_one_in_the_order_of_arrival,
        deliveries_without_a_lane_never_wait_for_one_another,
        a_settlement_under_another_lease_does_nothing,
        each_settlement_moves_the_lane_as_its_state_says,
        an_attempt_keeps_what_was_said_and_answered,
        an_attempt_that_met_refused_credentials_is_remembered_apart,
        the_age_of_a_delivery_begins_anew_behind_an_attempt_that_counts_against_no_limit,
        what_a_person_releases_or_replays_is_decided_until_its_next_attempt,
        the_same_fault_again_is_counted_and_another_starts_anew,
        after_an_unknown_outcome_the_same_bytes_go_out_until_it_is_settled,
        the_age_counts_from_the_first_attempt_and_the_systems_time_never_goes_back,
        the_mark_of_what_was_delivered_for_a_record_belongs_to_its_route,
        leases_given_back_count_no_attempt,
        a_replayed_dead_letter_goes_ahead_of_what_was_not_sent_yet,
        a_replayed_dead_letter_comes_next_after_what_is_in_flight,
        what_makes_way_for_a_replayed_dead_letter_is_not_due_before_it_was,
        a_dead_letter_that_holds_its_lane_lets_it_go_when_replayed_or_discarded,
        a_held_head_stops_its_lane_and_a_held_other_stops_it_in_its_turn,
        a_released_delivery_behind_another_is_blocked,
        without_a_lane_a_change_concerns_one_delivery_alone,
        a_change_that_the_state_forbids_is_refused_in_words,
        a_system_keeps_its_pause_and_its_open_time,
        what_a_person_wants_of_a_system_counts_at_once_and_the_last_wish_stands,
        an_equal_configuration_is_kept_once,
        the_last_thousand_refused_posts_are_kept_each_cut_at_its_bound,
        due_times_too_far_ahead_are_pulled_back,
        what_was_never_attempted_is_pulled_back_to_the_present,
        lists_are_filtered_cut_and_continued,
        the_backlog_knows_since_when_the_oldest_waits,
        what_was_in_flight_when_the_process_died_is_unknown_and_sent_again_or_held,
        a_look_up_that_a_stop_cuts_is_no_attempt_until_the_call_behind_it_begins,
        what_may_have_been_taken_stays_so_through_attempts_that_come_to_nothing,
        a_closed_store_says_so_and_keeps_what_was_queued;
    lists:
        deliveries_are_found_by_all_that_a_filter_says,
        notifications_are_found_by_all_that_a_filter_says,
        what_a_field_holds_finds_its_notification_and_its_deliveries_for_as_long_as_the_content_is_kept,
        what_is_measured_is_kept_once_for_all_and_once_of_each_gateway_and_not_for_ever,
        lanes_that_do_not_go_on_are_listed_with_what_stops_them,
        looking_ends_before_the_list_does_and_the_page_says_where_it_goes_on;
    model:
        any_history_leaves_the_store_sound,
        everything_that_is_not_stopped_is_delivered_in_the_end;
    replay:
        what_must_still_be_dead_is_sent_once_however_many_want_it_sent,
        what_does_not_stand_any_more_as_it_must_is_left_as_it_is,
        what_was_kept_of_an_answer_is_shown_and_found,
        one_that_comes_after_another_waits_for_it_and_gets_what_it_kept,
        a_chain_goes_on_one_by_one_and_the_nearest_answer_counts,
        when_the_one_before_is_lost_all_that_come_after_die_with_it_and_say_why,
        a_dead_one_that_comes_after_another_is_replayed_once_that_one_goes_again,
        without_a_delivery_to_come_after_it_is_dead_at_once,
        a_revision_replaces_both_or_makes_both_anew,
        a_revision_of_dead_ones_takes_the_place_of_both,
        what_coalesces_gives_way_together,
        a_dead_letter_that_waits_for_what_is_made_now_stays_and_lets_its_lane_go_on,
        what_was_delivered_is_repeated_by_a_new_delivery_and_stays_as_it_is,
        a_repetition_that_would_undo_a_later_state_is_refused,
        what_is_pruned_while_it_is_replayed_is_dead_and_no_call_without_content,
        a_dead_letter_goes_in_its_place_or_gives_way_to_what_repeats_it,
        edited_content_is_a_revision_that_salesforce_did_not_send,
        a_revision_leaves_what_a_person_had_made_alone,
        the_one_that_comes_after_goes_by_the_newest_repetition_of_the_one_before,
        without_a_lane_nobody_waits_for_the_one_before,
        any_history_of_what_comes_after_and_is_repeated_leaves_the_store_sound_and_comes_to_an_end;
    configurations:
        it_is_known_which_configuration_came_into_force_when_by_what_and_why,
        the_last_thousand_times_that_a_configuration_came_into_force_are_kept,
        every_way_that_was_ever_gone_is_known,
        what_is_not_settled_is_counted_by_way,
        a_way_is_discarded_in_steps_the_newest_first_and_its_lanes_go_on,
        a_lane_that_stops_at_a_dead_letter_is_let_go_on_and_the_letter_stays,
        what_comes_after_another_is_discarded_with_it_and_does_not_die_of_it,
        what_goes_to_another_destination_of_its_system_is_booked_there_with_all_that_was_tried;
    damage:
        whatever_rows_refer_to_and_is_gone_is_found,
        a_table_that_somebody_removed_is_told_and_nothing_is_ready_until_it_is_back,
        what_the_database_refuses_again_and_again_makes_nobody_ready,
        a_content_that_is_not_what_came_is_found_and_one_that_was_pruned_is_none;
    keep:
        of_what_was_delivered_the_texts_go_first_and_the_rows_later_and_the_ledger_stays,
        what_is_not_settled_is_never_pruned_and_a_dead_letter_stays_whole,
        a_notification_is_known_for_as_long_as_repeats_are_told_though_its_delivery_is_gone,
        a_revision_after_pruning_finds_what_it_needs,
        the_record_stays_while_another_delivery_of_its_notification_may_still_be_sent,
        an_old_dead_letter_is_still_outdated_when_what_outdates_it_was_pruned,
        the_mark_of_what_was_delivered_survives_pruning,
        what_gave_way_to_a_dead_letter_is_shown_with_it_for_as_long_as_it_is_there,
        what_never_had_a_delivery_goes_at_an_age_of_its_own,
        a_dry_run_counts_what_would_go,
        a_dry_run_counts_what_others_need_no_more_than_pruning_takes_it,
        a_notification_goes_with_its_rows_or_when_no_repeat_is_to_be_expected_whatever_else_is_kept,
        pruning_in_steps_of_one_thing_comes_to_the_same_end,
        any_history_can_be_pruned_and_stays_sound,
        pruning_at_a_pace_ends_and_is_bounded_by_patience,
        an_answer_is_kept_for_as_long_as_one_that_comes_after_may_need_it,
        what_a_person_edited_goes_with_its_notification_and_takes_no_account_with_it,
        what_happens_is_booked_on_its_utc_day_and_the_days_sum_to_the_ledger,
        the_longest_silence_of_a_source_is_known_with_when_it_was,
        a_time_in_which_nobody_listened_is_kept_until_a_person_took_note,
        who_listened_for_too_short_a_time_did_not_end_the_absence,
        what_people_do_to_deliveries_stands_in_the_audit_log_and_what_was_refused_does_not,
        the_audit_log_is_filtered_and_turned_page_by_page,
        an_entry_of_the_audit_log_is_pruned_after_its_time_and_never_within_a_year,
        each_entry_of_the_audit_log_follows_from_the_one_before_also_after_pruning,
        a_token_is_found_by_its_hash_until_it_is_forgotten,
        a_saved_view_is_shared_replaced_and_forgotten_and_there_are_only_so_many;
    sealing:
        what_people_see_is_the_same_with_payloads_sealed_and_after_every_walk,
        a_key_that_is_missing_or_another_is_refused_and_what_was_changed_harms_itself_alone,
        what_comes_from_outside_is_never_taken_for_sealed,
        a_walk_ends_while_others_write_and_loses_nothing_of_theirs;
}

#[test]
fn no_test_of_the_contract_is_left_out() {
    let sources = [
        include_str!("../store.rs"),
        include_str!("model.rs"),
        include_str!("configurations.rs"),
        include_str!("damage.rs"),
        include_str!("keep.rs"),
        include_str!("lists.rs"),
        include_str!("replay.rs"),
        include_str!("sealing.rs"),
    ];
    for (line, next) in sources.iter().flat_map(|source| source.lines().zip(source.lines().skip(1))) {
        let name = next.strip_prefix("pub(super) ").unwrap_or(next).strip_prefix("async fn ");
        if let Some(name) = name.filter(|_| line.starts_with("#[tokio::test")) {
            let name = name.split('(').next().unwrap();
            assert!(LISTED.contains(&name), "list {name} in tests/it/store/both.rs: it must hold over PostgreSQL too");
        }
    }
}
