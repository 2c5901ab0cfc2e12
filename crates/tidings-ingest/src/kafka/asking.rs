//! Asks brokers where logs begin and end, on a thread of its own: an answer may take seconds, and the
//! thread that polls waits for none.
//!
//! One question at a time, about all partitions that somebody wants to know of by then.

use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{
    context::Context,
    link::{Link, Notice},
    partition::Partition,
};

/// How long one call may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// The oldest offset of a log, and the one after its newest.
pub(super) type Edges = (i64, i64);

/// Who knows where logs begin and end.
pub(super) trait LogEdges: Send + Sync {
    /// The edges of many logs, with `None` for those that were not told; `None` for all if the call
    /// failed, which one unreachable broker is enough for.
    fn of_all(&self, partitions: &[Arc<Partition>]) -> Option<Vec<Option<Edges>>>;

    /// The edges of one log.
    fn of_one(&self, partition: &Partition) -> Option<Edges>;
}

impl LogEdges for BaseConsumer<Context> {
    fn of_all(&self, partitions: &[Arc<Partition>]) -> Option<Vec<Option<Edges>>> {
        let asked = offsets(self, partitions, Offset::Beginning)
            .and_then(|lows| Ok((lows, offsets(self, partitions, Offset::End)?)));
        let (lows, highs) = match asked {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(%error, "the brokers did not say where logs begin and end");
                return None;
            }
        };
        let edges =
            partitions.iter().map(|it| Some((offset_of(&lows, it)?, offset_of(&highs, it)?)));
        Some(edges.collect())
    }

    fn of_one(&self, partition: &Partition) -> Option<Edges> {
        let id = &partition.id;
        let told = self.fetch_watermarks(&id.topic, id.partition, ASK_TIMEOUT);
        told.inspect_err(|error| {
            tracing::warn!(%error, partition = %id, "the broker did not say where the log ends");
        })
        .ok()
    }
}

/// One request to each broker, however many partitions it leads: the ends of a log are asked for in the
/// place of a time.
pub(super) fn offsets(
    consumer: &BaseConsumer<Context>,
    partitions: &[Arc<Partition>],
    which: Offset,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(&partition.id.topic, partition.id.partition, which)?;
    }
    consumer.offsets_for_times(list, ASK_TIMEOUT)
}

fn offset_of(told: &TopicPartitionList, partition: &Partition) -> Option<i64> {
    let element = told.find_partition(&partition.id.topic, partition.id.partition)?;
    match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(offset)) => Some(offset),
        _ => None,
    }
}

struct Question {
    whom: Arc<dyn LogEdges>,
    partitions: Vec<Arc<Partition>>,
}

/// What is to be asked, and the thread that does it. Owned by the thread that polls.
pub(super) struct Asker {
    /// Partitions of the next question.
    wanted: Vec<Arc<Partition>>,
    /// Partitions of the question under way that were not answered yet.
    asked: Vec<Arc<Partition>>,
    /// Closed to end the thread.
    questions: Option<mpsc::SyncSender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl Asker {
    /// Starts the thread, which answers with [`Notice::Edges`].
    pub(super) fn start(link: Arc<Link>) -> io::Result<Self> {
        let (questions, to_ask) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("kafka-ask".to_owned())
            .spawn(move || answer(&to_ask, &link))?;
        let (questions, thread) = (Some(questions), Some(thread));
        Ok(Self { wanted: Vec::new(), asked: Vec::new(), questions, thread })
    }

    /// Puts a partition into the next question, unless it is in the one under way.
    pub(super) fn want(&mut self, partition: &Arc<Partition>) {
        let is_it = |it: &Arc<Partition>| Arc::ptr_eq(it, partition);
        if !self.wanted.iter().any(is_it) && !self.asked.iter().any(is_it) {
            self.wanted.push(Arc::clone(partition));
        }
    }

    /// Asks what is wanted, unless a question is under way. Never waits.
    pub(super) fn ask<T: LogEdges + 'static>(&mut self, whom: &Arc<T>) {
        if self.wanted.is_empty() || !self.asked.is_empty() {
            return;
        }
        let partitions = std::mem::take(&mut self.wanted);
        let whom: Arc<dyn LogEdges> = Arc::<T>::clone(whom);
        let question = Question { whom, partitions: partitions.clone() };
        match self.questions.as_ref().map(|questions| questions.try_send(question)) {
            Some(Ok(())) => self.asked = partitions,
            // The thread takes a question before it answers, and there is one at a time: it has gone.
            _ => tracing::error!("the thread that asks brokers where logs end has failed"),
        }
    }

    /// Notes that there is an answer about a partition, or that there will be none.
    pub(super) fn note_answer(&mut self, partition: &Arc<Partition>) {
        self.asked.retain(|it| !Arc::ptr_eq(it, partition));
    }

    /// Waits until the thread has ended. The link is closing by then, and it makes no further call.
    pub(super) fn close(&mut self) {
        self.questions = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that asks brokers where logs end has failed");
        }
    }
}

/// Answers questions until nobody has any more.
fn answer(to_ask: &mpsc::Receiver<Question>, link: &Link) {
    while let Ok(Question { whom, partitions }) = to_ask.recv() {
        if let Some(edges) = whom.of_all(&partitions) {
            // Before the answer: whoever hears it may be the last to hold the client.
            drop(whom);
            link.tell(Notice::Edges(partitions.into_iter().zip(edges).collect()));
            continue;
        }
        // A broker is out of reach; the partitions of the others are told.
        for partition in partitions {
            if link.is_closing() {
                return;
            }
            let edges = whom.of_one(&partition);
            link.tell(Notice::Edges(vec![(partition, edges)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// Brokers that answer when they are told to, and count.
    struct Slow {
        calls: Mutex<Vec<usize>>,
        go: Mutex<mpsc::Receiver<()>>,
        one_is_out_of_reach: AtomicBool,
    }

    impl Slow {
        fn new() -> (Arc<Self>, mpsc::Sender<()>) {
            let (going, go) = mpsc::channel();
            let calls = Mutex::default();
            let one_is_out_of_reach = AtomicBool::new(false);
            (Arc::new(Self { calls, go: Mutex::new(go), one_is_out_of_reach }), going)
        }

        fn calls(&self) -> Vec<usize> {
            self.calls.lock().unwrap().clone()
        }
    }

    impl LogEdges for Slow {
        fn of_all(&self, partitions: &[Arc<Partition>]) -> Option<Vec<Option<Edges>>> {
            self.go.lock().unwrap().recv().unwrap();
            self.calls.lock().unwrap().push(partitions.len());
            let fails = self.one_is_out_of_reach.load(Ordering::SeqCst);
            (!fails)
                .then(|| partitions.iter().map(|it| Some((0, it.id.partition.into()))).collect())
        }

        fn of_one(&self, partition: &Partition) -> Option<Edges> {
            self.calls.lock().unwrap().push(1);
            (partition.id.partition != 0).then_some((0, 7))
        }
    }

    fn told(link: &Link, asker: &mut Asker, count: usize) -> Vec<(i32, Option<Edges>)> {
        let mut told = Vec::new();
        while told.len() < count {
            link.bell.wait(Duration::from_secs(60));
            assert!(link.bell.answer(), "no answer within a minute");
            for notice in link.take_notices() {
                let Notice::Edges(edges) = notice else { panic!("{notice:?}") };
                for (partition, edges) in edges {
                    asker.note_answer(&partition);
                    told.push((partition.id.partition, edges));
                }
            }
        }
        told
    }

    #[test]
    fn many_partitions_are_one_question_and_nobody_waits_for_its_answer() {
        let link = Arc::new(Link::default());
        let mut asker = Asker::start(Arc::clone(&link)).unwrap();
        let (brokers, go) = Slow::new();
        let partitions: Vec<_> = (0..64).map(Partition::for_tests).collect();
        asker.want(&partitions[0]);
        asker.ask(&brokers);
        // The brokers have not answered, and will not before all of this is done.
        for partition in partitions.iter().chain(&partitions) {
            asker.want(partition);
            asker.ask(&brokers);
        }
        assert!(brokers.calls().is_empty() && link.take_notices().is_empty());
        go.send(()).unwrap();
        assert_eq!(told(&link, &mut asker, 1), [(0, Some((0, 0)))]);
        asker.ask(&brokers);
        go.send(()).unwrap();
        assert_eq!(told(&link, &mut asker, 63)[62], (63, Some((0, 63))));
        assert_eq!(brokers.calls(), [1, 63]);
        asker.close();
    }

    #[test]
    fn a_broker_that_is_out_of_reach_hides_only_its_own_logs() {
        let link = Arc::new(Link::default());
        let mut asker = Asker::start(Arc::clone(&link)).unwrap();
        let (brokers, go) = Slow::new();
        brokers.one_is_out_of_reach.store(true, Ordering::SeqCst);
        for partition in (0..3).map(Partition::for_tests) {
            asker.want(&partition);
        }
        asker.ask(&brokers);
        go.send(()).unwrap();
        let edges = Some((0, 7));
        assert_eq!(told(&link, &mut asker, 3), [(0, None), (1, edges), (2, edges)]);
        asker.close();
    }
}
