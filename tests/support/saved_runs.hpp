#pragma once
// Runs that save, stop, and go on from what they saved, perhaps as another world elsewhere.
#include <optional>
#include <string>
#include <vector>

#include "sherd/launch/saving.hpp"
#include "support/placed_runs.hpp"

namespace sherd::test {

/// The part of a run that is played.
struct Course {
  std::string from{};       // a checkpoint; empty: the start
  std::uint64_t steps = 0;  // done at its end; 0: all
  std::string root{};       // saves at its end into this folder; empty: it does not
  std::uint64_t every = 0;  // and at these steps
};

struct Played {
  std::string hash;
  std::vector<std::uint64_t> numbers;  // loss, norm, scale of each step that was played
  checkpoint::Progress progress;
  std::vector<launch::Saved> saved;
};

inline launch::RunConfig saving(launch::RunConfig config, const Course& course) {
  config.checkpoint.save = course.root;
  config.checkpoint.save_every = std::to_string(course.every);
  if (course.root.empty()) config.checkpoint = {};
  return config;
}

/// Also checks that every tier held what was planned, to the byte, where a snapshot was taken.
inline Played play(const launch::RunConfig& asked, const Course& course) {
  const launch::RunConfig config = saving(asked, course);
  const ThreadRun run{.config = config, .job = [&](Rank) { return placed_job(config); }};
  checkpoint::Store store(io::storage(), course.root);
  if (!course.root.empty()) store.enter();
  ThreadRanks ranks(run);
  std::vector<Played> results(static_cast<std::size_t>(ranks.world()));
  rethrow(ranks.run([&](ThreadRank& seat) {
    Played& result = results[static_cast<std::size_t>(seat.rank)];
    engine::Engine& engine = seat.engine;
    if (!course.from.empty()) engine.restore(checkpoint::Checkpoint(io::storage(), course.from));
    std::optional<launch::Saving> saves;
    if (!course.root.empty()) {
      checkpoint::Manifest manifest;
      manifest.run = "00000000000000000000000000000001";
      manifest.world = ranks.world();
      saves.emplace(launch::Saving::Parts{engine, seat.control, seat.rank, ranks.world(),
                                          config.checkpoint, io::storage(), manifest});
    }
    const std::uint64_t end = course.steps > 0 ? course.steps : seat.prepared.steps;
    while (engine.steps() < end) {
      const engine::StepResult step = engine.step({false, saves && saves->wish()});
      for (const double x : {step.loss, step.grad_norm, step.loss_scale})
        result.numbers.push_back(std::bit_cast<std::uint64_t>(x));
      if (step.save) saves->begin();
    }
    if (saves) saves->finish();
    while (saves) {
      const std::optional<launch::Saved> news = saves->news();
      if (!news) break;
      result.saved.push_back(*news);
    }
    result.hash = engine.parameters_hash();
    result.progress = engine.progress();
    if (result.numbers.empty()) return;
    for (int tier = 0; tier < memory::tiers; ++tier) {
      const auto at = static_cast<std::size_t>(tier);
      const memory::TierUse use = engine.ledger().measured(static_cast<memory::Tier>(tier));
      CHECK(use.arena == seat.prepared.plan.memory.arena[at]);
      CHECK(use.peak == seat.prepared.plan.memory.peak[at]);
    }
  }));
  for (const Played& other : results) CHECK(other.hash == results[0].hash);
  return results[0];
}

inline std::string saved_at(const std::string& root, std::uint64_t step) {
  return root + "/" + checkpoint::folder_name(step);
}

}  // namespace sherd::test
