//! Goal: processes that share limits never admit more than one would, whatever
//! comes between a question and its answer, and all of a limit is there for one
//! of them when the others are idle. Method: long random runs of three processes
//! on the model of the store, with questions under way while calls come and go,
//! answers lost, and processes that die; each admission counted anew.

use super::*;
use crate::ledger::rates::model::Books;

const PROCESSES: usize = 3;
const LIMITS: [u64; 3] = [30, 500, 7];

/// One process and what it has under way.
struct Process {
    name: usize,
    gauges: Gauges,
    asked: Option<(Vec<Ask>, Option<Vec<Answer>>)>,
}

struct Call {
    process: usize,
    taken: Taken,
    /// What it counts for, once it has ended.
    settled: Option<u64>,
}

struct World {
    seed: u64,
    rates: Rates,
    books: Books,
    processes: Vec<Process>,
    calls: Vec<Call>,
    /// Counted by processes that have died since.
    ghosts: Vec<Call>,
    at: Moment,
}

impl Process {
    fn new(name: usize) -> Self {
        let mut gauges = Gauges::new(true);
        gauges.lives_until(Duration::MAX);
        Self {
            name,
            gauges,
            asked: None,
        }
    }
}

impl World {
    fn new(seed: u64, model: bool) -> Self {
        let [requests, tokens, slots] = LIMITS.map(Some);
        let limits = match model {
            true => [None, None, slots, requests, tokens],
            false => [requests, tokens, slots, None, None],
        };
        Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            rates: rates(model.then_some("m"), limits),
            books: Books::default(),
            processes: (0..PROCESSES).map(Process::new).collect(),
            calls: Vec::new(),
            ghosts: Vec::new(),
            at: when(1),
        }
    }

    fn pick(&mut self, below: usize) -> usize {
        next(&mut self.seed) as usize % below
    }

    fn step(&mut self, names: &mut usize) {
        self.at.now += Duration::from_millis(50);
        let process = self.pick(PROCESSES);
        // Seldom, so that the limits are reached: what the dead had of a minute, and
        // what an answer that was lost gave, nobody uses any more.
        let is_seldom = self.pick(10) == 0;
        match self.pick(40) {
            0 if is_seldom => self.at.minute += 1,
            1 if is_seldom => self.die(process, names),
            37 if is_seldom => self.lose(process),
            2..=17 => {
                let tokens = next(&mut self.seed) % 60;
                self.call(process, tokens);
            }
            18..=24 => self.end_one(),
            25..=32 => self.write(process),
            33..=36 => self.hear(process),
            37..=38 => self.ask(process, |gauges, at, rates| {
                gauges.give_back(rates.at(0).0, at.minute)
            }),
            39 => self.ask(process, |gauges, at, _| gauges.sweep(at)),
            _ => {}
        }
    }

    fn call(&mut self, at: usize, tokens: u64) {
        let process = &mut self.processes[at];
        match process.gauges.take(&self.rates, tokens, self.at) {
            Ok(taken) => self.calls.push(Call {
                process: at,
                taken,
                settled: None,
            }),
            Err(NoRoom::Short) => self.ask(at, |gauges, at, rates| {
                gauges.asks([(rates, tokens)].into_iter(), at)
            }),
            Err(NoRoom::Full(_)) => {}
        }
    }

    fn ask(&mut self, at: usize, ask: impl FnOnce(&mut Gauges, Moment, &Rates) -> Vec<Ask>) {
        let process = &mut self.processes[at];
        if process.asked.is_none() {
            let asks = ask(&mut process.gauges, self.at, &self.rates);
            process.asked = (!asks.is_empty()).then_some((asks, None));
        }
    }

    /// The store does what it was asked.
    fn write(&mut self, at: usize) {
        let Process { name, asked, .. } = &mut self.processes[at];
        if let Some((asks, answers @ None)) = asked {
            let claimed = asks.iter().map(|ask| self.books.claim(*name, ask));
            *answers = Some(claimed.collect());
        }
    }

    /// Its answer arrives.
    fn hear(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if let Some((_, Some(_))) = process.asked
            && let Some((asks, Some(answers))) = process.asked.take()
        {
            for (ask, answer) in asks.iter().zip(answers) {
                process.gauges.answered(ask, Some(answer));
            }
        }
    }

    /// It never does, whether it was written or not.
    fn lose(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if let Some((asks, _)) = process.asked.take() {
            asks.iter()
                .for_each(|ask| process.gauges.answered(ask, None));
        }
    }

    /// With all its calls; another one takes its place once it is buried.
    fn die(&mut self, at: usize, names: &mut usize) {
        *names += 1;
        let dead = std::mem::replace(&mut self.processes[at], Process::new(*names));
        self.books.bury(dead.name);
        let died = |call: &mut Call| call.process == at;
        self.ghosts.extend(self.calls.extract_if(.., died));
    }

    fn end_one(&mut self) {
        let running = |call: &Call| call.settled.is_none();
        let running: Vec<usize> = (0..self.calls.len())
            .filter(|at| running(&self.calls[*at]))
            .collect();
        if running.is_empty() {
            return;
        }
        let at = running[self.pick(running.len())];
        let used = next(&mut self.seed) % (self.calls[at].taken.tokens + 1);
        let is_released = self.pick(4) == 0;
        let call = &mut self.calls[at];
        let gauges = &mut self.processes[call.process].gauges;
        if is_released {
            gauges.release(&self.rates, call.taken);
            self.calls.remove(at);
        } else {
            gauges.settle(&self.rates, call.taken, used);
            call.settled = Some(used);
        }
    }

    /// Requests and tokens of this minute, and calls that run.
    fn counted(&self) -> [u64; 3] {
        let all = self.calls.iter().chain(&self.ghosts);
        let now = || {
            let in_minute = |call: &&Call| call.taken.minute == self.at.minute;
            all.clone().filter(in_minute)
        };
        let tokens = |call: &Call| call.settled.unwrap_or(call.taken.tokens);
        let running = self.calls.iter().filter(|call| call.settled.is_none());
        [
            now().count() as u64,
            now().map(tokens).sum(),
            running.count() as u64,
        ]
    }

    fn check(&self) {
        let counted = self.counted();
        let over = counted
            .iter()
            .zip(LIMITS)
            .any(|(used, limit)| *used > limit);
        assert!(!over, "seed {}: {counted:?}", self.seed);
    }

    /// Nothing is under way any more.
    fn settle_all(&mut self) {
        for at in 0..PROCESSES {
            self.write(at);
            self.hear(at);
        }
    }
}

#[test]
fn b1_three_processes_never_admit_more_than_a_limit() {
    for seed in 1..=60 {
        let mut world = World::new(seed, seed % 2 == 0);
        let mut names = PROCESSES;
        for _ in 0..2_000 {
            world.step(&mut names);
            world.check();
        }
    }
}

#[test]
fn one_process_has_all_that_the_others_do_not_use() {
    for seed in 1..=60 {
        let mut world = World::new(seed, seed % 2 == 0);
        let mut names = PROCESSES;
        for _ in 0..300 {
            world.step(&mut names);
        }
        // Answers that were lost are lost for their minute at most.
        world.at.minute += 1;
        for _ in 0..3 {
            world.settle_all();
            for at in 0..PROCESSES {
                world.ask(at, |gauges, at, _| gauges.give_all_back(at.minute));
            }
        }
        world.settle_all();
        while world.calls.iter().any(|call| call.settled.is_none()) {
            world.end_one();
        }
        world.at.now += Duration::from_secs(2);
        for at in 0..PROCESSES {
            world.ask(at, |gauges, at, _| gauges.sweep(at));
        }
        world.settle_all();
        let before = world.calls.len();
        for _ in 0..200 {
            world.call(0, 1);
            world.settle_all();
            world.at.now += Duration::from_secs(1);
        }
        let admitted = world.calls.len() - before;
        assert_eq!(admitted as u64, LIMITS[SLOTS], "seed {seed}");
        world.check();
    }
}

/// How often the store is asked for so many calls of one request each, `gap` apart.
fn asked(limit: u64, calls: u64, gap: Duration) -> usize {
    let rates = rates(None, [Some(limit), None, None, None, None]);
    let (mut books, mut gauges) = (Books::default(), Gauges::new(true));
    let (mut moment, mut asked) = (when(1), 0);
    for _ in 0..calls {
        while gauges.take(&rates, 1, moment) == Err(NoRoom::Short) {
            asked += 1;
            for ask in gauges.asks([(&rates, 1)].into_iter(), moment) {
                let answer = books.claim(0, &ask);
                gauges.answered(&ask, Some(answer));
                if answer.granted == 0 {
                    let full = Full {
                        quota: 0,
                        rate: Rate::Requests,
                        left: 0,
                    };
                    gauges.refuse(&rates, full, 1, moment);
                }
            }
        }
        moment.now += gap;
    }
    asked
}

#[test]
fn the_store_is_asked_a_few_times_a_second_at_most() {
    let millis = Duration::from_millis;
    // A thousand a second for five seconds, ten for thirty, one for sixty.
    for (limit, calls, gap, most) in [
        (100_000, 5_000, millis(1), 15),
        (6_000, 300, millis(100), 60),
        (6_000, 60, millis(1_000), 60),
        // A limit that is spent: once a second.
        (10, 10_000, millis(1), 25),
    ] {
        let asked = asked(limit, calls, gap);
        assert!(asked <= most, "{limit} {calls} {gap:?}: {asked}");
    }
}

#[test]
fn what_a_call_used_beyond_its_bound_counts_for_all() {
    let rates = rates(None, [None, Some(100), None, None, None]);
    let mut books = Books::default();
    let mut both = [Gauges::new(true), Gauges::new(true)];
    let mut ask = |at: usize, both: &mut [Gauges; 2], tokens| {
        for ask in both[at].asks([(&rates, tokens)].into_iter(), when(1)) {
            let answer = books.claim(at, &ask);
            both[at].answered(&ask, Some(answer));
        }
        both[at].take(&rates, tokens, when(1))
    };
    let call = ask(0, &mut both, 10).expect("room");
    both[0].settle(&rates, call, 95);
    let mut idle = when(1);
    idle.now = Duration::from_secs(1);
    let told = both[0].sweep(idle);
    assert_eq!(told.len(), 1, "at once, and not when it is idle");
    let answer = Answer {
        granted: 0,
        stands: 95,
    };
    both[0].answered(&told[0], Some(answer));
    assert_eq!(both[0].sweep(idle).len(), 0, "once");
    assert_eq!(told[0].debt, 85);
    let _ = ask(0, &mut both, 1).expect("five are left");
}

#[test]
fn slots_of_a_process_that_may_be_dead_are_not_used() {
    let rates = rates(None, [None, None, Some(5), None, None]);
    let (mut books, mut gauges) = (Books::default(), Gauges::new(true));
    gauges.lives_until(Duration::from_secs(8));
    for ask in gauges.asks([(&rates, 0)].into_iter(), when(1)) {
        let answer = books.claim(0, &ask);
        gauges.answered(&ask, Some(answer));
    }
    let call = gauges.take(&rates, 0, when(1)).expect("a slot");
    gauges.settle(&rates, call, 0);
    let mut later = when(1);
    later.now = Duration::from_secs(8);
    assert_eq!(gauges.take(&rates, 0, later), Err(NoRoom::Short));
    gauges.lives_until(Duration::from_secs(16));
    let running = gauges.take(&rates, 0, later).expect("its own slot");
    // Others have it now; the call that runs is counted under another name.
    books.bury(0);
    gauges.lose_slots();
    gauges.lives_until(Duration::from_secs(16));
    assert!(gauges.has_slots());
    let told = gauges.sweep(later);
    let answer = books.claim(1, &told[0]);
    assert_eq!((told[0].held, answer.stands), (1, 1));
    gauges.answered(&told[0], Some(answer));
    gauges.settle(&rates, running, 0);
    later.now += Duration::from_secs(2);
    let told = gauges.sweep(later);
    assert_eq!((told[0].returned, books.claim(1, &told[0]).stands), (1, 0));
}
