#include <algorithm>
#include <nlohmann/json.hpp>

#include "sherd/bench/timeline.hpp"

namespace sherd::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_steps = 50'000;

Json entry(const TimelineBuffer& b) {
  Json one = {b.name, static_cast<int>(b.use), b.offset, b.size, b.born, b.dies};
  if (b.count > 1) one.push_back(b.count);
  return one;
}

template <class Enum>
Json names_of(int count) {
  Json names = Json::array();
  for (int i = 0; i < count; ++i) names.push_back(std::string(name_of(static_cast<Enum>(i))));
  return names;
}

Json json_of(const TierTimeline& tier) {
  Json buffers = Json::array(), peak = Json::array(), uses = Json::object();
  for (const TimelineBuffer& buffer : tier.buffers) buffers.push_back(entry(buffer));
  for (const TimelineBuffer& buffer : tier.at_peak) peak.push_back(entry(buffer));
  for (std::size_t use = 0; use < tier.at_peak_by_use.size(); ++use) {
    if (static_cast<memory::Use>(use) != memory::Use::runtime)
      uses[std::string(name_of(static_cast<memory::Use>(use)))] = tier.at_peak_by_use[use];
  }
  uses["unused"] = tier.arena - tier.live();
  return {{"name", std::string(name_of(tier.tier))},
          {"peak", tier.arena},
          {"peak_step", tier.peak_step},
          {"uses", std::move(uses)},
          {"left_out", tier.left_out},
          {"at_peak", std::move(peak)},
          {"buffers", std::move(buffers)}};
}

// A script element ends at "</", whatever the language inside; markup of any kind is kept out.
std::string inert(const std::string& json) {
  std::string safe;
  for (const char c : json) {
    if (c == '<')
      safe += "\\u003c";
    else if (c == '>')
      safe += "\\u003e";
    else if (c == '&')
      safe += "\\u0026";
    else
      safe += c;
  }
  return safe;
}

}  // namespace

std::string to_json(const Timeline& timeline) {
  const std::size_t stride = std::max<std::size_t>(1, ceil_div(timeline.steps.size(), most_steps));
  std::string verbs, lanes;
  Json subjects = Json::array(), phases = Json::array(), tiers = Json::array();
  for (std::size_t i = 0; i < timeline.steps.size(); i += stride) {
    verbs += static_cast<char>('a' + static_cast<int>(timeline.steps[i].verb));
    lanes += static_cast<char>('a' + static_cast<int>(timeline.steps[i].lane));
    subjects.push_back(timeline.steps[i].subject);
  }
  for (const plan::Phase& phase : timeline.phases)
    phases.push_back({{"name", phase.name},
                      {"first", phase.first},
                      {"last", phase.last},
                      {"repeat", phase.repeat}});
  for (const TierTimeline& tier : timeline.tiers) tiers.push_back(json_of(tier));
  const Json all = {{"title", timeline.title},
                    {"steps", timeline.steps.size()},
                    {"stride", stride},
                    {"verbs", names_of<plan::Verb>(plan::verbs)},
                    {"lanes", names_of<plan::Lane>(device::lanes)},
                    {"uses", names_of<memory::Use>(memory::uses)},
                    {"verb_of", verbs},
                    {"lane_of", lanes},
                    {"subject_of", std::move(subjects)},
                    {"blocks", timeline.blocks},
                    {"phases", std::move(phases)},
                    {"tiers", std::move(tiers)}};
  return inert(all.dump(-1, ' ', true, Json::error_handler_t::replace));
}

}  // namespace sherd::bench
