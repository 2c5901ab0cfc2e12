//! The intake side of a node: planning, the pipeline, and the sources that feed it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use serde::{Deserialize, de::IgnoredAny};
use tidings_core::{
    batch::BatchLimits,
    clock::Clock,
    dead_letter::Origin,
    ports::{LiveNotifications, Presence},
    retry::RetryPolicy,
    route::RoutingPolicy,
};
use tidings_delivery::realtime::ConnectionPool;
use tidings_ingest::{
    FanOutConfig, FanOutWorker, FollowEvents, Intake, Planner, PlannerConfig,
    kafka::{
        BreakerConfig, KafkaConfig, KafkaNotificationConsumer, KafkaStart as Start, KafkaTopic,
        RecordFormat, decode_letter,
    },
    pipeline::{Pipeline, PipelineConfig},
};

use super::{push::Push, recommendations::Recommendations, stores::Stores};
use crate::{
    config::{
        Config, FanOutSection, FollowEventsSection, IntakeSection, KafkaFormat, KafkaSection,
        KafkaStart,
    },
    http::LetterDecoder,
};

/// How often fan-outs are looked for that a node left behind when it died.
const FAN_OUT_POLL: Duration = Duration::from_secs(5);

/// The intake side of a node.
pub(super) struct Ingest {
    pub(super) intake: Intake,
    pub(super) pipeline: Pipeline,
    pub(super) fan_outs: FanOutWorker,
    pub(super) kafka: Option<KafkaNotificationConsumer>,
}

impl Ingest {
    pub(super) fn new(
        config: &Config,
        stores: &Stores,
        pool: &Arc<ConnectionPool>,
        push: &Push,
        recommendations: &Recommendations,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let live: Arc<dyn LiveNotifications> = Arc::clone(pool) as _;
        let presence: Arc<dyn Presence> = Arc::clone(pool) as _;
        let lanes = match config.intake.lanes {
            0 => stores.lanes(&config.store.postgres),
            lanes => lanes,
        };
        let (pipeline, handle) = Pipeline::new(
            pipeline_config(&config.intake, lanes),
            stores.store(),
            live,
            push.waker(),
            Arc::clone(clock),
        );
        let planning = PlannerConfig {
            routing: RoutingPolicy::clone(&push.routing),
            page: config.fan_out.page,
        };
        let planner = Planner::new(planning, stores.graph(), presence, Arc::clone(clock))
            .with_follow_events_heard(
                follow_events(&config.follow_events),
                recommendations.follow_listener(),
            );
        let fan_outs = FanOutWorker::new(
            fan_out_config(&config.fan_out),
            stores.store(),
            planner.clone(),
            handle.clone(),
            Arc::clone(clock),
        );
        let kafka = if config.kafka.brokers.is_empty() {
            None
        } else {
            let (planner, handle) = (planner.clone(), handle.clone());
            let consumer = KafkaNotificationConsumer::new(
                kafka_config(&config.kafka),
                planner,
                handle,
                stores.store(),
                Arc::clone(clock),
            );
            Some(consumer.context("the Kafka consumer cannot be set up (kafka)")?)
        };
        let answer_wait = Duration::from_millis(config.intake.answer_wait_ms);
        let intake = Intake::new(planner, handle, Arc::clone(clock), answer_wait);
        Ok(Self { intake, pipeline, fan_outs, kafka })
    }
}

/// Reads dead letters in the format that their topic has now.
pub(super) fn letter_decoder(section: &KafkaSection, clock: &Arc<dyn Clock>) -> LetterDecoder {
    let clock = Arc::clone(clock);
    let topics = kafka_topics(section);
    Arc::new(move |letter| {
        let format = match &letter.origin {
            // What it was sent as is not kept with it.
            Origin::Http if is_cloud_event(&letter.payload) => RecordFormat::CloudEvents,
            Origin::Http | Origin::FanOut => RecordFormat::Tidings,
            Origin::Kafka(record) => {
                let topic = topics.iter().find(|topic| topic.name == record.topic);
                topic.map_or(RecordFormat::Auto, |topic| topic.format)
            }
        };
        decode_letter(letter, format, clock.now())
    })
}

/// Whether it has the one attribute of a cloud event that nothing else has, and no audience beside it.
fn is_cloud_event(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head {
        specversion: Option<IgnoredAny>,
        audience: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Head>(json)
        .is_ok_and(|head| head.specversion.is_some() && head.audience.is_none())
}

fn follow_events(section: &FollowEventsSection) -> FollowEvents {
    let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    FollowEvents {
        follow_type: set(&section.follow_type),
        unfollow_type: set(&section.unfollow_type),
    }
}

fn pipeline_config(section: &IntakeSection, lanes: usize) -> PipelineConfig {
    PipelineConfig {
        batch: BatchLimits {
            max_rows: section.batch_rows,
            max_bytes: section.batch_bytes,
            max_age: Duration::from_millis(section.batch_linger_ms),
        },
        queue_jobs: section.queue_jobs,
        queue_bytes: section.queue_bytes,
        queue_wait: Duration::from_millis(section.queue_wait_ms),
        lanes,
    }
}

fn fan_out_config(section: &FanOutSection) -> FanOutConfig {
    FanOutConfig {
        concurrent: section.concurrent,
        lease: Duration::from_millis(section.lease_ms),
        poll: FAN_OUT_POLL,
        retry: RetryPolicy { max_attempts: u32::MAX, base_ms: 100, cap_ms: 10_000 },
    }
}

fn kafka_config(section: &KafkaSection) -> KafkaConfig {
    let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    KafkaConfig {
        brokers: section.brokers.clone(),
        group: section.group.clone(),
        instance_id: set(&section.instance_id),
        topics: kafka_topics(section),
        start: match section.start {
            KafkaStart::Earliest => Start::Earliest,
            KafkaStart::Latest => Start::Latest,
        },
        queue_bytes: section.queue_bytes,
        partition_queue_bytes: section.partition_queue_bytes,
        dead_letter_suffix: set(&section.dead_letter_suffix),
        dead_letter_payload_bytes: section.dead_letter_payload_bytes,
        breaker: BreakerConfig {
            records: section.breaker_records,
            bad_percent: section.breaker_bad_percent,
        },
        retry: RetryPolicy {
            max_attempts: u32::MAX,
            base_ms: section.retry_base_ms,
            cap_ms: section.retry_cap_ms,
        },
        options: section
            .options
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
    }
}

fn kafka_topics(section: &KafkaSection) -> Vec<KafkaTopic> {
    let topics = section.topics.iter().map(|topic| KafkaTopic {
        name: topic.name.clone(),
        format: match topic.format {
            KafkaFormat::Auto => RecordFormat::Auto,
            KafkaFormat::Tidings => RecordFormat::Tidings,
            KafkaFormat::CloudEvents => RecordFormat::CloudEvents,
        },
    });
    topics.collect()
}
