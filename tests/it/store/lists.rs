//! The contract of every store about lists: what filters leave, in which order, and that looking has an end.

use omgate::store::Page;

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
    for (filter, expected) in [
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
