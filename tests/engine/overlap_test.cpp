// Collectives run while blocks compute, which is shown by making each wait for the other, and every
// wait of the plan is honoured meanwhile.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "support/awkward_gpt2.hpp"
#include "support/faulty_comm.hpp"
#include "support/process.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

/// A block's call and a collective that both stay until the other has begun.
struct Meeting {
  std::atomic<bool> computing{false}, sending{false};

  static void meet(std::atomic<bool>& mine, const std::atomic<bool>& other, const char* missing) {
    mine = true;
    if (!wait_until([&] { return other.load(); }, std::chrono::seconds(30)))
      throw std::runtime_error(std::string("waited 30 s in vain for ") + missing);
  }
  void compute() { meet(computing, sending, "the collective, inside the block"); }
  void send() { meet(sending, computing, "the block, inside the collective"); }
};

enum class Half : std::uint8_t { forward, backward };

/// Calls the block inside, after the meeting.
class MeetingBlock final : public Block {
 public:
  MeetingBlock(std::unique_ptr<Block> inner, Half half, Meeting& meeting)
      : inner_(std::move(inner)), half_(half), meeting_(meeting) {}
  void declare(Declare& d) const override { inner_->declare(d); }
  void forward(const Forward& f) override {
    if (half_ == Half::forward) meeting_.compute();
    inner_->forward(f);
  }
  void backward(const Backward& b) override {
    if (half_ == Half::backward) meeting_.compute();
    inner_->backward(b);
  }

 private:
  std::unique_ptr<Block> inner_;
  Half half_;
  Meeting& meeting_;
};

launch::RunConfig many_buckets(plan::Overlap overlap) {
  launch::RunConfig config = awkward_config(2);
  config.sharding.zero_stage = 3;
  config.sharding.bucket_bytes = 1;  // a bucket a layer
  config.sharding.prefetch = 1;
  config.sharding.overlap = overlap;
  return config;
}

launch::Job four_layers() { return awkward_job(awkward_gpt2(4), 13); }

plan::Plan plan_of(const launch::RunConfig& config) {
  return launch::prepare(launch::resolve(config), four_layers(), 0).plan;
}

/// A collective and the compute step that is issued next; `number` among the step's collectives.
struct Pair {
  std::uint32_t collective = 0, compute = 0;
  int number = 0;
};

bool is_collective(const plan::Step& step) {
  return step.verb == plan::Verb::gather || step.verb == plan::Verb::reduce ||
         step.verb == plan::Verb::vote;
}

bool touches(const plan::Step& step, const plan::Step& other) {
  return std::ranges::any_of(step.accesses, [&](const plan::Access& a) {
    return std::ranges::any_of(other.accesses,
                               [&](const plan::Access& b) { return a.buffer == b.buffer; });
  });
}

/// The first `verb` of a bucket that the next computation, a `half` of an inner block, has no part
/// in.
Pair find_pair(const plan::Program& program, plan::Verb verb, plan::Verb half) {
  int number = 0;
  for (std::uint32_t i = 0; i < program.steps.size(); ++i) {
    const plan::Step& step = program.steps[i];
    number += is_collective(step) ? 1 : 0;
    if (step.verb != verb) continue;
    std::uint32_t next = i + 1;
    while (next < program.steps.size() && program.steps[next].lane != plan::Lane::compute) ++next;
    if (next == program.steps.size()) break;
    const plan::Step& compute = program.steps[next];
    if (compute.verb == half && compute.subject > 0 && !touches(step, compute))
      return {i, next, number};
  }
  FAIL("the program has no such pair");
  return {};
}

using Events = std::vector<engine::TraceEvent>;

/// The first time a step ran.
engine::TraceEvent first_of(const Events& events, std::uint32_t step) {
  for (const engine::TraceEvent& event : events) {
    if (event.step == step) return event;
  }
  FAIL("step ", step, " never ran");
  return {};
}

void check_in_flight(plan::Verb verb, plan::Verb half) {
  const launch::RunConfig config = many_buckets(plan::Overlap::on);
  std::array<Meeting, 2> meetings;
  const plan::Plan plan = plan_of(config);
  const Pair pair = find_pair(plan.train.program, verb, half);
  const std::uint16_t block = plan.train.program.steps[pair.compute].subject;
  ThreadRun run{.config = config, .job = [&](Rank rank) {
                  launch::Job job = four_layers();
                  std::unique_ptr<Block>& at = job.model.blocks[block].block;
                  at = std::make_unique<MeetingBlock>(
                      std::move(at), half == plan::Verb::forward ? Half::forward : Half::backward,
                      meetings[static_cast<std::size_t>(rank)]);
                  return job;
                }};
  run.wrap = [&](ThreadRun::Comm comm, const comm::ControlBlock&) -> ThreadRun::Comm {
    Meeting& meeting = meetings[static_cast<std::size_t>(comm->rank())];
    return std::make_unique<support::FaultyComm>(std::move(comm), [&, number = pair.number](int n) {
      if (n == number) meeting.send();
    });
  };
  run.traced = true;
  ThreadRanks ranks(run);
  for (const RankResult& result : train(ranks)) {
    const engine::TraceEvent sent = first_of(result.events, pair.collective);
    const engine::TraceEvent computed = first_of(result.events, pair.compute);
    CHECK(sent.verb == verb);
    CHECK(sent.lane == plan::Lane::net);
    CHECK(computed.verb == half);
    CHECK(computed.lane == plan::Lane::compute);
    CHECK(sent.began < computed.ended);
    CHECK(computed.began < sent.ended);
  }
}

/// Which steps a lane ran, in order.
using Sequences = std::map<plan::Lane, std::vector<std::uint32_t>>;

Sequences by_lane(Events events) {
  std::ranges::sort(events, {}, &engine::TraceEvent::began);
  Sequences sequences;
  for (const engine::TraceEvent& event : events) sequences[event.lane].push_back(event.step);
  return sequences;
}

Sequences as_issued(const plan::Program& program, std::uint64_t steps) {
  Sequences sequences;
  for (std::uint64_t step = 0; step < steps; ++step) {
    for (const plan::Phase& phase : program.phases) {
      for (std::uint32_t round = 0; round < phase.repeat; ++round) {
        for (std::uint32_t i = phase.first; i < phase.last; ++i)
          sequences[program.steps[i].lane].push_back(i);
      }
    }
  }
  return sequences;
}

/// A run of `config`, its collectives late on rank 0, by rank.
std::vector<RankResult> traced(const launch::RunConfig& config) {
  ThreadRun run{.config = config, .job = [](Rank) { return four_layers(); }};
  run.wrap = [](ThreadRun::Comm comm, const comm::ControlBlock&) {
    const int late = comm->rank() == 0 ? 200 : 0;
    return support::delayed_comm(std::move(comm), std::chrono::microseconds(late));
  };
  run.traced = true;
  ThreadRanks ranks(run);
  return train(ranks);
}

/// When each step began and ended, by run of the program; every step once a run.
std::vector<std::map<std::uint32_t, engine::TraceEvent>> by_run(Events events) {
  std::ranges::sort(events, {}, &engine::TraceEvent::began);
  std::vector<std::map<std::uint32_t, engine::TraceEvent>> runs;
  std::map<std::uint32_t, std::size_t> seen;
  for (const engine::TraceEvent& event : events) {
    const std::size_t now = seen[event.step]++;
    if (now == runs.size()) runs.emplace_back();
    runs[now][event.step] = event;
  }
  return runs;
}

}  // namespace

TEST_CASE("a gather of a later bucket is in flight while a block computes forward") {
  check_in_flight(plan::Verb::gather, plan::Verb::forward);
}

TEST_CASE("a reduce of a bucket is in flight while an earlier block computes backward") {
  check_in_flight(plan::Verb::reduce, plan::Verb::backward);
}

TEST_CASE("a gather of an earlier bucket is in flight while a block computes backward") {
  check_in_flight(plan::Verb::gather, plan::Verb::backward);
}

TEST_CASE("each lane runs its steps in issue order, inline and on threads") {
  for (const std::int64_t accum : {1, 3}) {
    launch::RunConfig threads = many_buckets(plan::Overlap::on);
    threads.batch.grad_accum = accum;
    launch::RunConfig inlined = many_buckets(plan::Overlap::off);
    inlined.batch.grad_accum = accum;
    const plan::Plan plan = plan_of(inlined);
    const std::vector<RankResult> on = traced(threads), off = traced(inlined);
    const Sequences expected = as_issued(plan.train.program, 3);
    CHECK(expected.size() == 2);
    for (std::size_t rank = 0; rank < 2; ++rank) {
      CHECK(by_lane(on[rank].events) == expected);
      CHECK(by_lane(off[rank].events) == expected);
      CHECK(on[rank].hash == off[rank].hash);
    }
  }
}

TEST_CASE("a step begins after all it waits for have ended, round the cycle too") {
  const launch::RunConfig config = many_buckets(plan::Overlap::on);
  const plan::Plan plan = plan_of(config);
  std::size_t between_lanes = 0, round_the_cycle = 0;
  for (const RankResult& result : traced(config)) {
    const auto runs = by_run(result.events);
    REQUIRE(runs.size() == 3);
    for (std::size_t run = 0; run < runs.size(); ++run) {
      for (const plan::Wait& wait : plan.train.waits) {
        if (wait.on >= wait.step && run == 0) continue;  // nothing ran before the first
        const std::size_t on_run = wait.on < wait.step ? run : run - 1;
        CAPTURE(wait.step);
        CAPTURE(wait.on);
        const engine::TraceEvent &on = runs[on_run].at(wait.on), &step = runs[run].at(wait.step);
        CHECK(on.ended < step.began);
        between_lanes += on.lane != step.lane ? 1U : 0U;
        round_the_cycle += on_run < run ? 1U : 0U;
      }
    }
  }
  CHECK(between_lanes > 20);
  CHECK(round_the_cycle > 0);
}
