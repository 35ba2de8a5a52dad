// Collectives run beside compute: each waits for the other to begin, which only lanes that overlap
// can do.
#include <doctest/doctest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>

#include "support/awkward_gpt2.hpp"
#include "support/thread_ranks.hpp"
#include "support/watched.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

/// Two parties that each wait until the other has come; after the deadline they go on and say so.
class Meeting {
 public:
  void come(int party) {
    std::unique_lock lock(mutex_);
    here_.insert(party);
    changed_.notify_all();
    met_ = changed_.wait_for(lock, std::chrono::seconds(60), [&] { return here_.size() == 2; });
  }
  bool met() const { return met_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<int> here_;
  bool met_ = false;
};

constexpr std::uint64_t collective_bucket = 2;  // of layer1, behind embed and layer0

launch::RunConfig overlapped() {
  launch::RunConfig config = awkward_config(2);
  config.batch.steps = 1;
  config.sharding.zero_stage = 3;
  config.sharding.bucket_bytes = 1;
  config.sharding.overlap = plan::Overlap::on;
  return config;
}

/// Does `verb` of layer1's bucket run while layer0.mlp runs `pass`?
void check_meets(comm::Verb verb, std::string_view pass, plan::Verb net, plan::Verb compute) {
  std::array<Meeting, 2> meetings;
  const auto watched = [&, pass](Rank rank) {
    launch::Job job = awkward_job(awkward_gpt2(), 4);
    Meeting& meeting = meetings[static_cast<std::size_t>(rank)];
    for (Model::Entry& entry : job.model.blocks) {
      if (entry.name != "layer0.mlp") continue;
      entry.block = std::make_unique<WatchedBlock>(
          std::move(entry.block), [&meeting, pass, once = true](std::string_view now) mutable {
            if (now == pass && std::exchange(once, false)) meeting.come(0);
          });
    }
    return job;
  };
  const auto gate = [&, verb](ThreadRun::Comm comm, const comm::ControlBlock&) -> ThreadRun::Comm {
    Meeting& meeting = meetings[static_cast<std::size_t>(comm->rank())];
    return std::make_unique<WatchedComm>(
        std::move(comm),
        [&meeting, verb, once = true](comm::Verb now, const comm::Label& label) mutable {
          const bool ours = now == verb && label.key == collective_bucket;
          if (ours && std::exchange(once, false)) meeting.come(1);
        });
  };
  const ThreadRun run{.config = overlapped(), .job = watched, .wrap = gate, .traced = true};
  ThreadRanks ranks(run);
  const std::vector<RankResult> results = train(ranks);
  const model::ModelSpec& spec = ranks.prepared(0).plan.setup.model;
  for (std::size_t rank = 0; rank < 2; ++rank) {
    CHECK(meetings[rank].met());
    const engine::TraceEvent *beside = nullptr, *inside = nullptr;
    for (const engine::TraceEvent& event : results[rank].events) {
      if (beside == nullptr && event.verb == net && event.subject == collective_bucket)
        beside = &event;
      if (event.verb == compute && spec.blocks[event.subject].name == "layer0.mlp") inside = &event;
    }
    REQUIRE(beside != nullptr);
    REQUIRE(inside != nullptr);
    CHECK(beside->began < inside->ended);
    CHECK(inside->began < beside->ended);
  }
}

}  // namespace

TEST_CASE("the next layer's parameters are gathered during this layer's forward") {
  check_meets(comm::Verb::all_gather, "forward", plan::Verb::gather, plan::Verb::forward);
}

TEST_CASE("a layer's gradients are reduced during the backward of the layer before it") {
  check_meets(comm::Verb::reduce_scatter, "backward", plan::Verb::reduce, plan::Verb::backward);
}
