#pragma once
// One training step as bytes over time: which named buffer lies where, and when.
#include <string>
#include <vector>

#include "sherd/launch/run_config.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::bench {

/// A rectangle: bytes [offset, offset + size) during steps [born, dies]; more than one buffer where
/// several of one size that follow each other were drawn as one.
struct TimelineBuffer {
  std::string name;
  memory::Use use = memory::Use::activations;
  Bytes offset = 0, size = 0;
  std::uint32_t born = 0, dies = 0;
  std::uint32_t count = 1;
};

struct TierTimeline {
  memory::Tier tier = memory::Tier::device;
  Bytes arena = 0;
  std::uint32_t peak_step = 0;  // the first where most bytes are live
  plan::ByUse at_peak_by_use{};
  std::vector<TimelineBuffer> at_peak;  // largest first
  std::vector<TimelineBuffer> buffers;
  std::size_t left_out = 0;  // the smallest buffers, where there were too many

  [[nodiscard]] Bytes live() const;
};

struct TimelineStep {
  plan::Verb verb = plan::Verb::feed;
  plan::Lane lane = plan::Lane::compute;
  std::uint16_t subject = 0;
};

struct Timeline {
  std::string title;
  std::vector<std::string> blocks;  // names, for steps whose subject is one
  std::vector<TimelineStep> steps;
  std::vector<plan::Phase> phases;
  std::vector<TierTimeline> tiers;  // those that hold something
};

/// The training program of a plan, every buffer of it.
[[nodiscard]] Timeline timeline_of(const plan::Plan& plan, std::string title);
/// "gpt2-124m, --precision bf16 --zero-stage 3": what a run was asked for.
[[nodiscard]] std::string title_of(const launch::RunConfig& config);

/// With at most `most` rectangles: neighbours in time at one place become one, then the smallest
/// go. What is said of the peaks stays exact.
[[nodiscard]] Timeline thinned(Timeline timeline, std::size_t most);

/// Data of the page; of many steps only every n-th is described (`stride`).
[[nodiscard]] std::string to_json(const Timeline& timeline);
/// A page that needs nothing but itself: a chart a tier, each with its peak.
[[nodiscard]] std::string page(const Timeline& timeline);
/// The same charts as a picture, without what is thinner than half a pixel.
[[nodiscard]] std::string draw(const Timeline& timeline);

}  // namespace sherd::bench
