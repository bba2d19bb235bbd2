//! One watch: keeps a store up to date and tells which objects changed in a way that matters.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::queue::Urgency;

/// An object before and after a change; at least one is there.
#[derive(Debug)]
pub struct Change<'a, K> {
    /// As it was, if it was.
    pub before: Option<&'a K>,
    /// As it is, if it is.
    pub after: Option<&'a K>,
}

impl<'a, K> Change<'a, K> {
    /// Both versions, as far as they exist.
    pub fn versions(&self) -> impl Iterator<Item = &'a K> + use<'a, K> {
        self.before.into_iter().chain(self.after)
    }

    /// A new object takes nothing from anybody; one that changes or goes may, and is looked at first.
    pub const fn urgency(&self) -> Urgency {
        if self.before.is_some() { Urgency::First } else { Urgency::InTurn }
    }

    /// Whether the object is new or gone, so that more than its own fields has changed.
    pub const fn is_existence(&self) -> bool {
        self.before.is_none() || self.after.is_none()
    }
}

/// Watches all objects that `api` reaches, for ever; errors are retried with growing pauses.
pub fn events<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Event<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    watch(api, config).default_backoff().filter_map(move |event| {
        let event = event
            .inspect_err(|error| tracing::warn!(kind, %error, "watch interrupted; it is taken up again"))
            .ok();
        std::future::ready(event)
    })
}

/// The same event about something else.
pub fn convert<A, B>(event: Event<A>, into: impl Fn(&A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(into(&object)),
        Event::Delete(object) => Event::Delete(into(&object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(into(&object)),
        Event::InitDone => Event::InitDone,
    }
}

/// The same event without the record of who set which field, the largest part of many objects.
pub fn slim<K: Resource>(event: Event<K>) -> Event<K> {
    event.modify(|object| object.meta_mut().managed_fields = None)
}

/// Brings each event into the store, then tells `changed` of it if `matters` sees a difference.
pub async fn follow<K, F: PartialEq>(
    events: impl Stream<Item = Event<K>>,
    mut writer: Writer<K>,
    matters: impl Fn(&K) -> F,
    changed: impl Fn(Change<'_, K>),
) where
    K: Lookup + Clone + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    let store = writer.as_reader();
    let tell = |before: Option<&K>, after: Option<&K>| {
        if before.map(&matters) != after.map(&matters) {
            changed(Change { before, after });
        }
    };
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match &event {
            Event::Apply(object) => {
                let before = store.get(&reference(object));
                writer.apply_watcher_event(&event);
                tell(before.as_deref(), Some(object));
            }
            Event::Delete(object) => {
                let before = store.get(&reference(object));
                writer.apply_watcher_event(&event);
                tell(before.as_deref().or(Some(object)), None);
            }
            Event::Init | Event::InitApply(_) => writer.apply_watcher_event(&event),
            Event::InitDone => {
                // A watch that was interrupted lists anew; only the difference to what was known counts.
                let mut before = by_reference(store.state());
                writer.apply_watcher_event(&event);
                for (name, after) in by_reference(store.state()) {
                    tell(before.remove(&name).as_deref(), Some(&after));
                }
                for gone in before.values() {
                    tell(Some(gone), None);
                }
            }
        }
    }
}

fn reference<K>(object: &K) -> ObjectRef<K>
where
    K: Lookup,
    K::DynamicType: Default,
{
    object.to_object_ref(K::DynamicType::default())
}

fn by_reference<K>(objects: Vec<Arc<K>>) -> HashMap<ObjectRef<K>, Arc<K>>
where
    K: Lookup,
    K::DynamicType: Default + Eq + Hash,
{
    objects.into_iter().map(|object| (reference(&*object), object)).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;

    use super::*;

    fn object(name: &str, value: &str, version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("shop".to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object.data = Some([("value".to_owned(), value.to_owned())].into());
        object
    }

    async fn told(events: Vec<Event<ConfigMap>>) -> Vec<(String, bool, bool)> {
        let told = RefCell::new(Vec::new());
        follow(
            stream::iter(events),
            Writer::default(),
            |object| object.data.clone(),
            |change| {
                let name = change.versions().map(ResourceExt::name_any).next().unwrap();
                told.borrow_mut().push((name, change.before.is_some(), change.after.is_some()));
            },
        )
        .await;
        let mut told = told.into_inner();
        told.sort();
        told
    }

    #[tokio::test]
    async fn what_does_not_matter_wakes_nobody() {
        let told = told(vec![
            Event::Apply(object("a", "1", "1")),
            Event::Apply(object("a", "1", "2")),
            Event::Apply(object("a", "2", "3")),
            Event::Delete(object("a", "2", "4")),
        ])
        .await;
        let a = |before, after| ("a".to_owned(), before, after);
        assert_eq!(told, [a(false, true), a(true, false), a(true, true)]);
    }

    #[tokio::test]
    async fn a_new_list_tells_only_what_is_different() {
        let told = told(vec![
            Event::Apply(object("gone", "1", "1")),
            Event::Apply(object("same", "1", "1")),
            Event::Init,
            Event::InitApply(object("same", "1", "5")),
            Event::InitApply(object("new", "1", "6")),
            Event::InitDone,
        ])
        .await;
        let at = |name: &str, before, after| (name.to_owned(), before, after);
        assert_eq!(
            told,
            [
                at("gone", false, true),
                at("gone", true, false),
                at("new", false, true),
                at("same", false, true)
            ]
        );
    }
}
