//! The contract of every store about lists: what filters leave, in which order, and that looking has an end.

use omgate::store::{Acks, Edit, Figures, LaneFilter, LaneView, Page, Prune, Replay, Retention, SAMPLE_EVERY, Sample};

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn ids(page: &Page<DeliveryView>) -> Vec<i64> {
    page.iter().map(|view| view.delivery_id.0).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Three hours: orders are made, delivered, retried and refused; then returns of another organization come.
async fn three_hours() -> World {
    let mut world = World::new();
    world.post((0..3).map(|id| note(&id.to_string()).to("a", &id.to_string()))).await;
    let first = world.claim(3).await;
    world.advance(HOUR_MS);
    world.deliver(&first[0]).await;
    let mut refused = world.settling(
        &first[1],
        "refused",
        Settlement::Dead { reason: "erp says: 401 for ACME".to_owned(), holds_lane: false },
    );
    refused.record.status = Some(401);
    world.store().settle(refused).await.unwrap();
    world.retry(&first[2], 0).await;
    world.advance(HOUR_MS);
    let again = world.claim_one().await;
    world.retry(&again, 10 * HOUR_MS).await;
    let mut returns = world.envelope([note("3").to("c", "3"), note("4").to("a", "2")]);
    returns.source = "returns".to_owned();
    returns.organization_id = "00D24000000efghEAA".to_owned();
    returns.organization_key = "00D24000000efgh".to_owned();
    world.store().accept(returns).await.unwrap();
    world
}

#[tokio::test]
pub(super) async fn deliveries_are_found_by_all_that_a_filter_says() {
    let world = three_hours().await;
    let begun = world.now().0 - 2 * HOUR_MS;
    let at = |hours: i64| Some(Timestamp(begun + hours * HOUR_MS));
    let none = DeliveryFilter::default;
    let these = |ids: &[i64]| Some(ids.iter().copied().map(DeliveryId).collect());
    for (filter, expected) in [
        (DeliveryFilter { ids: these(&[5, 2, 99]), ..none() }, vec![5, 2]),
        (DeliveryFilter { ids: these(&[5, 2]), state: Some(State::Dead), ..none() }, vec![2]),
        (DeliveryFilter { ids: these(&[]), ..none() }, vec![]),
        (DeliveryFilter { source: some("returns"), ..none() }, vec![5, 4]),
        (DeliveryFilter { source: some("nobody"), ..none() }, vec![]),
        (DeliveryFilter { organization: some("00D24000000abcd"), ..none() }, vec![3, 2, 1]),
        (DeliveryFilter { organization: some("00D24000000efghZZZ"), ..none() }, vec![5, 4]),
        (DeliveryFilter { since: at(1), ..none() }, vec![5, 4]),
        (DeliveryFilter { until: at(2), ..none() }, vec![3, 2, 1]),
        (DeliveryFilter { since: at(0), until: at(3), ..none() }, vec![5, 4, 3, 2, 1]),
        (DeliveryFilter { changed_since: at(1), changed_until: at(2), ..none() }, vec![2, 1]),
        (DeliveryFilter { changed_since: at(2), ..none() }, vec![5, 4, 3]),
        (DeliveryFilter { changed_until: at(1), ..none() }, vec![]),
        (DeliveryFilter { state: Some(State::Delivered), changed_since: at(1), ..none() }, vec![1]),
        (DeliveryFilter { state: Some(State::Delivered), changed_since: at(2), ..none() }, vec![]),
        (DeliveryFilter { attempts: Some(2), ..none() }, vec![3]),
        (DeliveryFilter { attempts: Some(1), state: Some(State::Waiting), ..none() }, vec![3]),
        (DeliveryFilter { status: Some(401), ..none() }, vec![2]),
        (DeliveryFilter { status: Some(401), state: Some(State::Dead), changed_since: at(1), ..none() }, vec![2]),
        (DeliveryFilter { status: Some(401), state: Some(State::Dead), changed_since: at(2), ..none() }, vec![]),
        (DeliveryFilter { text: some("for ACME"), ..none() }, vec![2]),
        (DeliveryFilter { text: some("for acme"), ..none() }, vec![]),
        (DeliveryFilter { destination: some("careful"), state: Some(State::Waiting), ..none() }, vec![4]),
        (DeliveryFilter { route: some("a"), state: Some(State::Blocked), ..none() }, vec![5]),
        (DeliveryFilter { record_id: some("006-2"), since: at(0), attempts: Some(1), ..none() }, vec![3]),
        (DeliveryFilter { notification_id: some("4"), source: some("orders"), ..none() }, vec![]),
    ] {
        let found = world.store().deliveries(filter.clone()).await.unwrap();
        assert_eq!((ids(&found), found.next), (expected.clone(), None), "{filter:?}");
        let rising = DeliveryFilter { after: Some(0), ..filter.clone() };
        let found = world.store().deliveries(rising).await.unwrap();
        assert_eq!(ids(&found), expected.iter().rev().copied().collect::<Vec<_>>(), "{filter:?}");
        for view in world.all().await {
            assert_eq!(filter.takes(&view), expected.contains(&view.delivery_id.0), "{filter:?} {view:?}");
        }
    }
}

#[tokio::test]
pub(super) async fn notifications_are_found_by_all_that_a_filter_says() {
    let mut world = three_hours().await;
    world.advance(HOUR_MS);
    let mut aside = world.envelope([note("5"), note("6")]);
    aside.quarantine = Some("organization 00D is unknown".to_owned());
    world.store().accept(aside).await.unwrap();
    world.post([note("7").unreadable("no id, said ACME"), note("8")]).await;
    let begun = world.now().0 - 3 * HOUR_MS;
    let at = |hours: i64| Some(Timestamp(begun + hours * HOUR_MS));
    let none = NotificationFilter::default;
    for (filter, expected) in [
        (NotificationFilter { source: some("returns"), ..none() }, vec!["4", "3"]),
        (NotificationFilter { organization: some("00D24000000efghEAA"), ..none() }, vec!["4", "3"]),
        (NotificationFilter { since: at(2), until: at(3), ..none() }, vec!["4", "3"]),
        (NotificationFilter { since: at(3), kind: some("unrouted"), ..none() }, vec!["8"]),
        (NotificationFilter { until: at(1), ..none() }, vec!["2", "1", "0"]),
        (NotificationFilter { text: some("ACME"), ..none() }, vec!["7"]),
        (NotificationFilter { text: some("is unknown"), kind: some("quarantined"), ..none() }, vec!["6", "5"]),
        (NotificationFilter { text: some("is unknown"), kind: some("unreadable"), ..none() }, vec![]),
        (NotificationFilter { record_id: some("006-6"), since: at(3), ..none() }, vec!["6"]),
        (NotificationFilter { record_id: some("006-6"), until: at(3), ..none() }, vec![]),
        (NotificationFilter { notification_id: some("6"), kind: some("quarantined"), ..none() }, vec!["6"]),
    ] {
        let found = world.store().notifications(filter.clone()).await.unwrap();
        let names: Vec<&str> = found.iter().map(|view| view.notification.notification_id.as_str()).collect();
        assert_eq!((names, found.next), (expected, None), "{filter:?}");
    }
}

/// All of a list, page by page; how many pages that took.
async fn walked(world: &World, mut filter: DeliveryFilter) -> (Vec<i64>, usize) {
    let (mut all, mut pages) = (Vec::new(), 0);
    loop {
        let page = world.store().deliveries(filter.clone()).await.unwrap();
        pages += 1;
        all.extend(ids(&page));
        if page.next.is_none() {
            return (all, pages);
        }
        filter.go_on(page.next);
    }
}

#[tokio::test]
pub(super) async fn looking_ends_before_the_list_does_and_the_page_says_where_it_goes_on() {
    const ROUTES: usize = 30;
    const NOTES: usize = 740;
    let all = i64::try_from(ROUTES * NOTES).unwrap();
    let mut world = World::new();
    let routes: Vec<String> = (0..ROUTES).map(|route| format!("r{route}")).collect();
    for batch in (0..NOTES).collect::<Vec<_>>().chunks(100) {
        let notes = batch.iter().map(|id| {
            let note = note(&id.to_string());
            routes.iter().fold(note, |note, route| note.in_any_order(route))
        });
        world.post(notes).await;
    }
    let claimed = world.claims(&["create"], &["r0"], 2).await.claimed;
    world.advance(10);
    world.retry(&claimed[0], HOUR_MS).await;
    let tried = claimed[0].delivery.0;
    let none = DeliveryFilter::default;
    for (filter, state) in [
        (DeliveryFilter { attempts: Some(1), ..none() }, None),
        (DeliveryFilter { text: some("it was retry"), ..none() }, None),
        (DeliveryFilter { status: Some(200), ..none() }, Some(State::Waiting)),
        (DeliveryFilter { changed_since: Some(world.now()), source: some("orders"), ..none() }, Some(State::Waiting)),
    ] {
        let filter = DeliveryFilter { state, ..filter };
        let expected: Vec<i64> = match (filter.attempts, state) {
            (Some(_), _) => vec![claimed[1].delivery.0, tried],
            _ => vec![tried],
        };
        let (found, pages) = walked(&world, filter.clone()).await;
        assert_eq!(found, expected, "{filter:?}");
        assert!((2..=25).contains(&pages), "{pages} pages: {filter:?}");
        let rising = DeliveryFilter { after: Some(0), ..filter };
        assert_eq!(walked(&world, rising).await.0, expected.iter().rev().copied().collect::<Vec<_>>());
    }
    let waiting = DeliveryFilter { state: Some(State::Waiting), limit: Some(1_000), ..none() };
    let (found, _) = walked(&world, waiting.clone()).await;
    let expected: Vec<i64> = (1..=all).rev().filter(|id| *id != claimed[1].delivery.0).collect();
    assert!(found == expected, "{} of {} are found, each once and in order", found.len(), expected.len());
    let of_route = DeliveryFilter { route: some("r7"), ..waiting };
    assert_eq!(walked(&world, of_route).await.0.len(), NOTES);
}

/// Which notifications, and which deliveries, a search finds.
async fn searched(world: &World, search: &str) -> (Vec<i64>, Vec<i64>) {
    let notifications = NotificationFilter { search: some(search), ..NotificationFilter::default() };
    let found = world.store().notifications(notifications).await.unwrap();
    let rows = found.iter().map(|view| view.notification.row).collect();
    let deliveries = DeliveryFilter { search: some(search), ..DeliveryFilter::default() };
    let found = world.store().deliveries(deliveries).await.unwrap();
    assert!(found.iter().all(|view| omgate::store::is_found_by(&view.search, search)), "{found:?}");
    (rows, ids(&found))
}

#[tokio::test]
pub(super) async fn what_a_field_holds_finds_its_notification_and_its_deliveries_for_as_long_as_the_content_is_kept() {
    let mut world = World::new();
    let acme = |id: &str, number: &str| note(id).found_by("Account", "ACME").found_by("Number", number);
    world.post([acme("1", "ACME-1").to("a", "1").to("c", "1c"), acme("2", "ACME-2\0").to("a", "2")]).await;
    world.post([acme("1", "ACME-1"), note("3").found_by("Number", "ACMF").to("a", "3")]).await;
    assert_eq!(searched(&world, "Number=ACME-1").await, (vec![1], vec![2, 1]), "a duplicate is nothing new");
    assert_eq!(searched(&world, "Number=ACME-2\0").await, (vec![2], vec![3]));
    assert_eq!(searched(&world, "Account=ACME").await, (vec![2, 1], vec![3, 2, 1]));
    assert_eq!(searched(&world, "Account").await, (vec![2, 1], vec![3, 2, 1]), "whatever it holds");
    assert_eq!(searched(&world, "Account=acme").await, (vec![], vec![]));
    assert_eq!(searched(&world, "Other=ACME").await, (vec![], vec![]));
    let beginning = DeliveryFilter { search: some("Number=ACME*"), ..DeliveryFilter::default() };
    match world.store().deliveries(beginning).await {
        Ok(found) => assert_eq!(ids(&found), [3, 2, 1]),
        Err(error) => {
            assert!(both::is_sealed(), "{error}");
            assert!(error.to_string().contains("leave the * out"), "{error}");
        }
    }
    let both_of = DeliveryFilter { search: some("Account=ACME"), route: some("c"), ..DeliveryFilter::default() };
    assert_eq!(ids(&world.store().deliveries(both_of).await.unwrap()), [2]);

    // A revision and an edit bring values of their own; the old ones find the old content.
    world.post([acme("2", "ACME-3").says("second").to("a", "2")]).await;
    assert_eq!(searched(&world, "Number=ACME-3").await, (vec![4], vec![3]), "it was replaced in place");
    assert_eq!(searched(&world, "Number=ACME-2\0").await, (vec![2], vec![]));
    let claimed = world.claim(10).await;
    for one in &claimed {
        world.deliver(one).await;
    }
    let edit = Edit {
        hash: hash("edited"),
        record_type: "Opportunity".to_owned(),
        record_id: "006-3".to_owned(),
        xml: "edited".to_owned(),
        search: BTreeMap::from([("Number".to_owned(), "ACME-9".to_owned())]),
    };
    let replay = Replay {
        still: None,
        delivery: DeliveryId(4),
        planned: Some(planned("a", Some("3"))),
        stays_dead: false,
        edit: Some(edit),
        as_it_was: None,
        even_if_newer: false,
        by: By::new("somebody", "because"),
        now: world.now(),
    };
    let made = world.store().replay(replay).await.unwrap().delivery;
    let edited = (vec![made.notification_row], vec![made.delivery_id.0]);
    assert_eq!(searched(&world, "Number=ACME-9").await, edited);
    let (view, _) = world.store().delivery(made.delivery_id).await.unwrap();
    assert_eq!(view.search, BTreeMap::from([("Number".to_owned(), "ACME-9".to_owned())]));

    // With the content goes what it was found by.
    world.advance(40 * 24 * HOUR_MS);
    let (retention, budget) = (Retention::default(), Duration::from_secs(10));
    for _ in 0..20 {
        let prune = Prune { retention: retention.clone(), now: world.now(), limit: 1_000, budget };
        world.store().prune(prune).await.unwrap();
    }
    assert_eq!(world.all().await.len(), 5, "the rows stay");
    assert_eq!(searched(&world, "Account=ACME").await, (vec![], vec![]));
    assert_eq!(searched(&world, "Number=ACME-9").await, edited, "which is still to be sent");
    world.assert_sound().await;
}

#[tokio::test]
pub(super) async fn lanes_that_do_not_go_on_are_listed_with_what_stops_them() {
    let mut world = World::new();
    let empty = world.store().lanes(LaneFilter::default()).await.unwrap();
    assert!(empty.rows.is_empty() && empty.next.is_none());
    let lanes = ["alone", "behind", "dead", "held", "tried"];
    world.post(lanes.map(|lane| note(lane).to("a", lane))).await;
    let claimed = world.claim(5).await;
    world.advance(1_000);
    world.kill(&claimed[2], true).await;
    world.deliver(&claimed[0]).await;
    world.retry(&claimed[1], HOUR_MS).await;
    world.settle(&claimed[3], "unknown", Settlement::Held { reason: "held".to_owned() }).await;
    world.retry(&claimed[4], HOUR_MS).await;
    world.advance(1_000);
    world.post((0..3).map(|id| note(&format!("b{id}")).to("a", "behind"))).await;
    world.post((0..1_005).map(|id| note(&format!("d{id}")).to("c", "dead"))).await;
    let then = world.now().0;
    let told = |view: &LaneView| {
        (
            view.head.lane.clone().unwrap(),
            (view.head.state.as_str(), view.head.delivery_id.0, view.behind, view.is_more, view.since.0),
        )
    };
    let expected = BTreeMap::from(
        [
            ("behind", ("waiting", 2, 3, false, then)),
            ("dead", ("dead", 3, 1_000, true, then - 1_000)),
            ("held", ("held", 4, 0, false, then - 1_000)),
        ]
        .map(|(lane, stands)| (lane.to_owned(), stands)),
    );
    let all = world.store().lanes(LaneFilter::default()).await.unwrap();
    assert_eq!(all.rows.iter().map(told).collect::<BTreeMap<_, _>>(), expected);
    assert_eq!((all.rows.len(), all.next), (3, None));

    // One by one they are the same.
    let (mut one_by_one, mut filter) = (Vec::new(), LaneFilter { limit: Some(1), ..LaneFilter::default() });
    loop {
        let page = world.store().lanes(filter.clone()).await.unwrap();
        one_by_one.extend(page.rows.iter().map(told));
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!(one_by_one.len(), 3);
    assert_eq!(one_by_one.into_iter().collect::<BTreeMap<_, _>>(), expected);
    for (system, count) in [("erp", 3), ("nowhere", 0)] {
        let filter = LaneFilter { system: some(system), ..LaneFilter::default() };
        assert_eq!(world.store().lanes(filter).await.unwrap().rows.len(), count, "{system}");
    }

    let lane = |lane: &str, after, limit| world.store().lane("erp".to_owned(), lane.to_owned(), after, limit);
    let found = lane("behind", 0, 3).await.unwrap();
    assert_eq!((ids(&found), found.next), (vec![2, 6, 7], Some(7)));
    let found = lane("behind", 7, 3).await.unwrap();
    assert_eq!((ids(&found), found.next), (vec![8], None));
    assert_eq!(ids(&lane("alone", 0, 3).await.unwrap()), Vec::<i64>::new(), "what is settled stands in no lane");
    assert_eq!(ids(&lane("tried", 0, 3).await.unwrap()), [5]);
    assert_eq!(ids(&lane("nowhere", 0, 3).await.unwrap()), Vec::<i64>::new());
}

#[tokio::test]
pub(super) async fn what_is_measured_is_kept_once_for_all_and_once_of_each_gateway_and_not_for_ever() {
    let mut world = World::new();
    world.post([note("1").to("a", "1"), note("2").to("c", "2")]).await;
    let (ledger, backlog) = (world.store().ledger().await.unwrap(), world.store().backlog().await.unwrap());
    let figures = Figures::of(&ledger, &backlog);
    assert_eq!((figures.sources["orders"], figures.destinations["create"].waiting), (2, 1));
    let at = world.now().step(SAMPLE_EVERY);
    let acks = |count| Acks { count, p50_ms: 1.5, p99_ms: 20.0 };
    let add = async |at, figures: &Figures, gateway: &str, count| {
        let acks = BTreeMap::from([(gateway.to_owned(), acks(count))]);
        world.store().add_sample(Sample { at, figures: Some(figures.clone()), acks }).await.unwrap();
    };
    add(at, &figures, "left", 1).await;
    let late = Figures { attempts: 7, ..figures.clone() };
    add(at, &late, "right", 2).await;
    let next = at.plus(SAMPLE_EVERY);
    add(next, &late, "left", 3).await;
    let both = BTreeMap::from([("left".to_owned(), acks(1)), ("right".to_owned(), acks(2))]);
    let first = Sample { at, figures: Some(figures.clone()), acks: both };
    let second = Sample { at: next, figures: Some(late.clone()), acks: BTreeMap::from([("left".to_owned(), acks(3))]) };
    assert_eq!(world.store().samples(at).await.unwrap(), [first, second.clone()]);
    assert_eq!(world.store().samples(next).await.unwrap(), std::slice::from_ref(&second));
    let days_later = next.plus(Duration::from_secs(8 * 86_400));
    add(days_later, &figures, "left", 4).await;
    let kept: Vec<_> = world.store().samples(Timestamp(0)).await.unwrap().iter().map(|sample| sample.at).collect();
    assert_eq!(kept, [next, days_later]);
    world.reopen().await;
    assert_eq!(world.store().samples(next).await.unwrap()[0], second);
}
