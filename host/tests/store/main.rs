//! The contract of the database adapter: what jobs rely on, whichever database it is. Every
//! test of a contract runs on the embedded database and on PostgreSQL; `security` and
//! `migrations` are about the server alone.

#[path = "../backend/server.rs"]
mod backend;
mod bench;
mod budgets;

mod accepting;
mod accounts;
mod batches;
mod callbacks;
mod circuits;
mod claims;
mod deciding;
mod events;
mod fencing;
mod holds;
mod identities;
mod installing;
mod keys;
mod ledger;
mod limits;
mod mails;
mod migrations;
mod payments;
mod quotes;
mod reading;
mod removals;
mod reuse;
mod security;
mod sessions;
mod settling;
mod uploads;
mod webhooks;
mod working;

/// Each test on both databases.
macro_rules! contract {
    ($($module:ident::$name:ident,)+) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$module::$name(super::bench::Bench::embedded().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$module::$name(super::bench::Bench::postgres().await).await;
            })+
        }
    };
}

contract! {
    sessions::a_refresh_token_is_used_once,
    sessions::an_attempt_is_repeated_for_a_while,
    sessions::sessions_are_closed,
    sessions::an_address_is_of_who_shows_it,
    sessions::a_deleted_account_is_nobodys,
    identities::one_account_for_many_who_come_at_once,
    identities::who_vouches_opens_what_was_shown_and_nothing_else,
    accepting::a_job_its_plan_and_its_first_event_come_together,
    accepting::the_same_request_answers_the_first_job,
    accepting::of_many_at_once_with_one_key_one_is_accepted,
    accepting::what_is_stored_comes_back,
    accounts::an_address_is_one_user,
    accounts::a_token_leads_to_its_owner,
    accounts::a_fact_of_the_installation_is_settled_once,
    batches::of_many_with_one_key_one_batch_is_written,
    batches::an_item_becomes_one_job,
    batches::who_was_too_slow_makes_no_job,
    batches::the_first_films_of_all_go_first,
    batches::what_is_canceled_becomes_no_job,
    batches::what_was_refused_is_asked_for_again_once,
    batches::of_many_at_once_none_passes_a_batchs_budget,
    batches::no_more_wait_than_may,
    batches::a_strangers_batch_is_as_good_as_missing,
    budgets::of_many_at_once_none_passes_the_budget,
    budgets::what_is_lowered_stops_before_it_buys,
    budgets::a_month_begins_anew,
    budgets::a_retry_fits_or_is_refused,
    budgets::the_audit_counts_what_projects_spend,
    callbacks::a_delivery_is_kept_once,
    callbacks::an_open_attempt_is_found_by_reference_or_task,
    circuits::failures_count_whichever_node_sees_them,
    circuits::of_many_who_ask_one_makes_the_trial,
    circuits::a_node_hears_of_it_from_the_rows,
    circuits::what_works_writes_nothing,
    circuits::outcomes_are_of_what_came_to_an_end,
    claims::each_due_step_is_claimed_once,
    claims::what_is_not_due_is_left,
    claims::the_oldest_come_first,
    claims::what_a_busy_node_cannot_begin_is_left,
    claims::a_lease_that_ran_out_goes_to_others,
    claims::a_renewed_lease_stays,
    claims::leases_that_are_handed_back_are_free_at_once,
    claims::only_others_lose_their_leases_at_a_start,
    claims::renewing_tells_who_asked_to_stop,
    claims::a_step_is_woken_unless_somebody_holds_it,
    claims::what_a_worker_lost_sight_of_is_claimed_again,
    claims::handing_back_twice_takes_nothing_new,
    claims::a_backlog_of_one_leaves_room_for_others,
    claims::owners_take_turns_in_claims,
    claims::steps_without_an_owner_are_claimed_too,
    deciding::a_cancel_is_written_once,
    deciding::a_cancel_wakes_what_is_parked,
    deciding::a_retry_begins_a_new_round,
    deciding::a_retry_goes_on_with_what_was_bought,
    deciding::cancels_and_moves_do_not_stop_each_other,
    events::numbers_have_no_gaps_whoever_writes,
    events::a_feed_misses_nothing_while_many_write,
    events::feeds_of_users_are_apart,
    events::logs_are_read_in_pages,
    fencing::who_lost_the_lease_writes_nothing,
    fencing::the_next_step_goes_along,
    fencing::a_job_that_is_over_stays_so,
    fencing::a_failed_write_leaves_nothing,
    installing::versions_are_kept_and_one_is_active,
    installing::a_version_number_stands_for_the_same_bytes,
    installing::a_version_with_open_attempts_stays,
    installing::settings_are_laid_over_each_other_and_forgotten,
    installing::who_installs_at_once_leaves_one_active,
    holds::a_job_holds_and_spends_what_it_was_charged,
    holds::without_credits_nothing_is_written,
    holds::what_is_settled_late_is_paid_late,
    holds::a_job_that_waits_for_a_decision_keeps_its_hold,
    holds::a_retry_holds_again,
    holds::no_attempt_goes_beyond_the_hold,
    keys::a_key_signs_in_until_it_ends,
    keys::of_many_at_once_so_many_keys_are_kept,
    keys::of_many_at_once_none_passes_a_keys_limits,
    ledger::a_key_moves_credits_once,
    ledger::credits_end_at_their_time,
    ledger::many_spend_at_once,
    ledger::whatever_happens_the_books_add_up,
    ledger::the_audit_finds_what_is_wrong,
    ledger::what_is_booked_stays,
    limits::of_many_at_once_so_many_are_under_way,
    limits::a_retry_needs_a_place_too,
    mails::a_jobs_end_is_told_once_with_what_it_cost,
    mails::a_cause_is_told_once_whoever_repeats_it,
    mails::a_mail_belongs_to_one_node_at_a_time,
    mails::what_does_not_leave_is_tried_again_and_given_up_in_a_day,
    mails::lost_answers_send_nothing_twice,
    mails::addresses_that_want_nothing_get_nothing,
    mails::what_the_vendor_tells_counts_once_in_any_order,
    mails::low_credits_are_told_once_for_each_crossing,
    mails::an_endpoint_that_is_disabled_is_told,
    mails::secrets_are_forgotten_once_they_are_sent,
    mails::nobody_gets_more_than_a_days_worth,
    payments::an_event_is_kept_once_and_worked_off_once,
    payments::of_many_looks_at_once_one_gives_the_credits,
    payments::a_look_that_is_older_writes_nothing,
    payments::what_goes_back_is_taken_and_the_rest_noted,
    payments::a_plan_follows_the_subscriptions,
    quotes::a_quote_is_its_owners_alone,
    quotes::times_are_of_what_was_delivered,
    reading::pages_are_stable_while_jobs_come,
    reading::filters_narrow_a_list,
    reading::a_strangers_job_is_as_good_as_missing,
    reading::projects_are_kept_changed_and_hidden,
    reading::a_handle_for_nobody_is_refused,
    working::a_panic_costs_a_turn_and_not_the_step,
    removals::files_of_deleted_projects_go_after_their_time,
    removals::files_of_fruitless_jobs_go_after_their_time,
    removals::a_job_that_is_accepted_while_its_project_goes_is_discarded,
    removals::a_removal_belongs_to_one_node_and_is_repeated,
    removals::a_chore_belongs_to_one_node,
    reuse::of_two_that_ask_for_the_same_one_asks,
    reuse::what_was_bought_is_found_by_its_owner_alone,
    settling::what_was_not_charged_is_tried_again,
    settling::a_task_that_was_found_goes_on,
    settling::what_was_charged_for_nothing_costs_the_owner_nothing,
    settling::what_is_being_looked_up_is_left_to_the_server,
    settling::of_all_who_settle_at_once_one_does,
    uploads::a_strangers_upload_is_as_good_as_missing,
    uploads::of_many_at_once_so_many_are_open,
    uploads::an_upload_is_settled_once,
    uploads::what_is_not_completed_ends,
    uploads::what_nobody_uses_ends,
    webhooks::a_message_comes_with_its_event,
    webhooks::a_jobs_own_address_hears_of_its_end,
    webhooks::a_delivery_belongs_to_one_node_at_a_time,
    webhooks::many_nodes_take_each_delivery_once,
    webhooks::an_endpoint_has_so_many_on_their_way,
    webhooks::an_attempt_moves_a_delivery_on,
    webhooks::an_endpoint_that_only_fails_is_disabled,
    webhooks::what_is_deleted_is_sent_nothing,
    webhooks::a_secret_changes_with_an_overlap,
    webhooks::secrets_are_sealed_anew,
    webhooks::a_missing_secret_is_made_once,
    webhooks::what_cannot_be_signed_waits,
    webhooks::of_many_at_once_so_many_endpoints_are_kept,
    webhooks::a_strangers_endpoint_is_as_good_as_missing,
}
