//! The contract of the database adapter: what jobs rely on, whichever database it is. Every
//! test of a contract runs on the embedded database and on PostgreSQL; `security` and
//! `migrations` are about the server alone.

#[path = "../backend/server.rs"]
mod backend;
mod bench;

mod accepting;
mod accounts;
mod callbacks;
mod claims;
mod deciding;
mod events;
mod fencing;
mod installing;
mod ledger;
mod migrations;
mod quotes;
mod reading;
mod removals;
mod reuse;
mod security;
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
    accepting::a_job_its_plan_and_its_first_event_come_together,
    accepting::the_same_request_answers_the_first_job,
    accepting::of_many_at_once_with_one_key_one_is_accepted,
    accepting::what_is_stored_comes_back,
    accounts::an_address_is_one_user,
    accounts::a_token_leads_to_its_owner,
    accounts::a_fact_of_the_installation_is_settled_once,
    callbacks::a_delivery_is_kept_once,
    callbacks::an_open_attempt_is_found_by_reference_or_task,
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
    ledger::a_key_moves_credits_once,
    ledger::a_job_holds_and_spends_what_it_was_charged,
    ledger::without_credits_nothing_is_written,
    ledger::what_is_settled_late_is_paid_late,
    ledger::a_job_that_waits_for_a_decision_keeps_its_hold,
    ledger::a_retry_holds_again,
    ledger::no_attempt_goes_beyond_the_hold,
    ledger::credits_end_at_their_time,
    ledger::many_spend_at_once,
    ledger::whatever_happens_the_books_add_up,
    ledger::the_audit_finds_what_is_wrong,
    ledger::what_is_booked_stays,
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
    webhooks::of_many_at_once_so_many_endpoints_are_kept,
    webhooks::a_strangers_endpoint_is_as_good_as_missing,
}
