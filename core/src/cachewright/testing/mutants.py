"""A mutant is a deliberately wrong engine; the kit has to fail every one by the test named here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cachewright.engine import EngineInfo
from cachewright.testing import wrong_dicts, wrong_files, wrong_lifetimes, wrong_stores
from cachewright.testing.reference import DICT, FOLDER, AsyncDictEngine, DictEngine, FolderEngine


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong engine and the test of the kit that has to notice it.

    Attributes:
        info: the record of the wrong engine.
        killed_by: name of the test.
        asynchronous: whether it is the asynchronous kit that is meant.
        asks_server: whether it needs an ``unreachable_config``.
    """

    info: EngineInfo
    killed_by: str
    asynchronous: bool = False
    asks_server: bool = False


KILLED_BY: dict[type[DictEngine | FolderEngine | AsyncDictEngine], str] = {
    wrong_dicts.NoneIsAMiss: "test_falsy_values_are_values",
    wrong_dicts.ZeroIsAMiss: "test_falsy_values_are_values",
    wrong_dicts.CopiesValues: "test_objects_keep_their_identity",
    wrong_dicts.IgnoresTtl: "test_an_entry_lives_until_its_ttl_has_passed",
    wrong_dicts.KeepsOldTtl: "test_overwriting_replaces_the_ttl",
    wrong_dicts.WallClockDeadlines: "test_setting_the_wall_clock_moves_no_deadline_in_process",
    wrong_dicts.CountsExpired: "test_an_expired_entry_is_seen_by_nothing",
    wrong_dicts.ListsExpired: "test_an_expired_entry_is_seen_by_nothing",
    wrong_dicts.DeletesExpired: "test_an_expired_entry_is_seen_by_nothing",
    wrong_dicts.TextKeys: "test_hostile_keys_are_distinct_and_exact",
    wrong_dicts.HashedKeys: "test_hostile_keys_are_distinct_and_exact",
    wrong_dicts.TypedKeys: "test_equal_keys_share_an_entry",
    wrong_dicts.LiveKeys: "test_keys_is_a_snapshot",
    wrong_dicts.AlwaysDeletes: "test_delete_says_whether_there_was_an_entry",
    wrong_dicts.OffByOne: "test_maxsize_is_exact",
    wrong_dicts.ZeroIsUnbounded: "test_maxsize_zero_stores_nothing",
    wrong_dicts.OversizeEvictsAll: "test_an_oversize_value_is_refused_at_no_cost",
    wrong_dicts.OversizeKeepsOld: "test_an_oversize_value_is_refused_at_no_cost",
    wrong_dicts.CountsWeightOnce: "test_max_bytes_is_never_exceeded",
    wrong_dicts.LruIsFifo: "test_a_policy_keeps_what_its_name_promises",
    wrong_dicts.TakesAnyPolicy: "test_an_undeclared_policy_is_refused",
    wrong_dicts.TakesAnyOption: "test_an_unknown_option_is_refused",
    wrong_dicts.ForgetsSome: "test_a_thousand_entries_are_kept",
    wrong_dicts.DetachedReader: "test_a_reader_stays_attached_over_clear",
    wrong_dicts.StaleReader: "test_a_reader_finds_the_same_object",
    wrong_dicts.ComparesByEquality: "test_compare_and_set_compares_objects_by_identity",
    wrong_dicts.ComparesThenSets: "test_compare_and_set_has_one_winner",
    wrong_dicts.SwapsAllOrNone: "test_compare_and_set_many_says_which_took_place",
    wrong_dicts.AnswersSwapsByKey: "test_compare_and_set_many_of_none_and_of_duplicates",
    wrong_dicts.SwapsManyForEver: "test_compare_and_set_many_keep_their_own_ttl",
    wrong_dicts.ComparesManyThenSets: "test_compare_and_set_many_has_one_winner_per_key",
    wrong_dicts.MixesThreads: "test_threads_never_see_another_keys_value",
    wrong_dicts.ForgetsDeletedTwice: "test_each_entry_is_deleted_by_one_thread",
    wrong_dicts.ClosesOnce: "test_closing_twice_is_allowed",
    wrong_dicts.DiesAfterClose: "test_use_after_close_fails_only_in_one_way",
    wrong_stores.KeepsChunks: "test_changing_chunks_afterwards_changes_nothing",
    wrong_stores.FirstChunkOnly: "test_chunks_come_back_joined",
    wrong_stores.ClearsEverything: "test_clear_empties_only_its_own_namespace",
    wrong_stores.FoldsNamespaces: "test_hostile_namespaces_never_meet",
    wrong_stores.CachesReads: "test_two_handles_see_each_others_writes",
    wrong_stores.EmptiesOnOpening: "test_entries_survive_closing_and_reopening",
    wrong_stores.WritesInPlace: "test_a_writer_killed_half_way_leaves_old_or_new",
    wrong_stores.LocksAcrossForks: "test_a_forked_child_can_use_the_engine",
    wrong_stores.RenewsNothing: "test_swapping_the_same_bytes_renews_the_ttl",
    wrong_stores.SwapsWithoutLooking: "test_a_load_that_began_before_is_not_stored",
    wrong_stores.LeavesRepliesBehind: "test_after_a_cancelled_get_answers_are_right",
    wrong_stores.BelongsToOneLoop: "test_two_runs_one_after_the_other",
    wrong_stores.GathersSwaps: "test_compare_and_set_many_of_none_and_of_duplicates",
    wrong_stores.ComparesManyThenAwaits: "test_compare_and_set_many_has_one_winner_per_key",
    wrong_lifetimes.LeavesTtlBehind: "test_an_entry_leaves_no_ttl_behind",
    wrong_lifetimes.ReadsProlong: "test_reading_prolongs_nothing",
    wrong_lifetimes.KeepsDeleted: "test_what_is_gone_is_released",
    wrong_lifetimes.KeepsEvicted: "test_what_is_evicted_is_released",
    wrong_lifetimes.ClearsOneByOne: "test_a_finaliser_may_use_the_engine",
    wrong_lifetimes.StaysBusy: "test_a_key_that_cannot_be_compared_harms_no_other",
    wrong_lifetimes.ComposesKeys: "test_hostile_keys_of_a_cache_are_distinct_and_exact",
    wrong_lifetimes.SetsWithoutLock: "test_threads_never_exceed_maxsize",
    wrong_lifetimes.PutsBackWhatItReads: "test_a_read_brings_nothing_back",
    wrong_lifetimes.ClearsInTheBackground: "test_clear_ends_what_was_stored_before",
    wrong_lifetimes.ListsWithoutLock: "test_iterating_beside_writers_lists_what_stays",
    wrong_lifetimes.ClosesForOne: "test_threads_close_one_engine_at_once",
    wrong_lifetimes.TakesTenThousand: "test_many_takes_forty_thousand_keys",
    wrong_lifetimes.CountsRefused: "test_set_many_counts_what_was_stored",
    wrong_lifetimes.BoundsOnlyBytes: "test_both_bounds_hold_at_once",
    wrong_lifetimes.TellsThePassword: "test_no_password_is_shown",
    wrong_lifetimes.RaisesAsItComes: "test_a_silent_server_is_given_up",
    wrong_lifetimes.WaitsAtTheStart: "test_a_server_that_does_not_answer_is_an_engine_error",
    wrong_lifetimes.SwapsInTwoSteps: "test_a_cancelled_swap_leaves_old_or_new",
    wrong_files.UnpicklesWhatItReads: "test_hostile_payloads_come_back_unread",
    wrong_files.StripsPadding: "test_chunks_come_back_joined",
    wrong_files.ReadsOneBlock: "test_sizes_around_a_boundary_come_back",
    wrong_files.WritesTheFirstThousands: "test_a_hundred_thousand_chunks_come_back",
    wrong_files.ReusesItsBuffer: "test_a_returned_blob_outlives_its_entry",
    wrong_files.WritesForEverybody: "test_files_are_private",
    wrong_files.CallsItselfPrivate: "test_a_directory_open_to_others_is_not_called_private",
    wrong_files.RemovesTheTree: "test_foreign_files_are_left_alone",
    wrong_files.ReadsAllToOpen: "test_damaged_files_are_misses",
    wrong_files.MakesItsDirectory: "test_a_path_that_is_no_directory_is_one_clear_error",
    wrong_files.NamesItsPlace: "test_a_store_may_be_moved",
    wrong_files.LeavesFilesOpen: "test_closing_gives_descriptors_and_threads_back",
    wrong_files.CountsFromTheBoot: "test_time_passes_while_a_store_is_closed",
    wrong_files.WritesLater: "test_an_acknowledged_write_outlives_its_writer",
    wrong_files.SharesATemporaryName: "test_processes_never_see_another_keys_value",
    wrong_files.ComparesThenWrites: "test_processes_compare_and_set_in_turn",
    wrong_files.EmptiesOnClosing: "test_a_forked_child_that_closes_harms_no_parent",
    wrong_files.SaysGoodbye: "test_an_interpreter_ends_quietly_with_an_open_engine",
    wrong_files.ChecksWhatItReads: "test_what_was_planted_is_a_miss",
    wrong_files.WritesInHalves: "test_threads_never_see_half_a_value",
    wrong_files.MakesItsFolderOnce: "test_threads_open_one_store_at_once",
}
"""Which test has to notice which mistake; the class name says what the mistake is."""


def mutants() -> tuple[Mutant, ...]:
    """Return all wrong engines."""
    found: list[Mutant] = []
    for engine, test in KILLED_BY.items():
        asynchronous = issubclass(engine, AsyncDictEngine)
        target = f"{engine.__module__}:{engine.__name__}"
        base = FOLDER if issubclass(engine, FolderEngine) else DICT
        info = replace(base, async_target=target) if asynchronous else replace(base, target=target)
        asks_server = issubclass(engine, wrong_lifetimes.AsksServer)
        found.append(Mutant(info, test, asynchronous, asks_server))
    return tuple(found)
