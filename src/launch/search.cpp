#include "sherd/launch/search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "launch/search_space.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/plan/simulate.hpp"

namespace sherd::launch {
namespace {

double over(Bytes need, Bytes limit) {
  if (need == 0) return 0;
  return limit == 0 ? std::numeric_limits<double>::infinity()
                    : static_cast<double>(need) / static_cast<double>(limit);
}

// Fitting before not fitting, then the faster or the nearer; as asked wherever that is no worse.
bool better(const Candidate& a, const Candidate& b) {
  if (a.fits() != b.fits()) return a.fits();
  const auto rounded = [](const Candidate& c) {  // sums in another order are no difference
    return static_cast<float>(c.fits() ? c.seconds : c.excess);
  };
  if (rounded(a) != rounded(b)) return rounded(a) < rounded(b);
  return a.changes < b.changes;
}

class Searcher {
 public:
  Searcher(const Validated& run, const Job& job, const SearchOptions& options)
      : run_(run), job_(job), options_(options), space_(run, options) {
    Point asked(space_.dimensions().size(), 0);
    key_ = prepare(run, job, 0).policy_key;
    (void)plan(asked);
  }

  SearchResult find() && {
    if (space_.combinations() <= static_cast<double>(options_.most_plans)) {
      all(Point(space_.dimensions().size(), 0), 0);
    } else {
      descend_from_each_corner();
    }
    return {ranked(), known_.size(), space_.combinations()};
  }

 private:
  using Known = std::map<Point, Candidate>;

  bool spent() const { return known_.size() >= options_.most_plans; }

  // Plans a point at most once.
  const Candidate& plan(const Point& at) {
    const Point point = space_.normal(at);
    const auto [found, fresh] = known_.try_emplace(point);
    Candidate& made = found->second;
    if (fresh) evaluate(space_.at(point), made);
    made.changes = static_cast<int>(
        std::count_if(point.begin(), point.end(), [](std::size_t v) { return v > 0; }));
    return made;
  }
  void evaluate(RunConfig config, Candidate& made) const {
    made.config = std::move(config);
    made.flags = space_.flags(made.config);
    try {
      const Validated run = resolve(made.config, Purpose::plan, run_.devices());
      const Prepared prepared = prepare(run, job_, 0);
      if (!options_.may_change_numerics && prepared.policy_key != key_) return;
      made.needs = needs_of(prepared.plan, options_.ranks_a_machine);
      made.seconds = plan::simulate(prepared.plan, options_.machine).seconds;
    } catch (const ConfigError&) {
      return;  // two of its choices exclude each other
    }
    made.excess = std::max(
        {over(made.needs.device, options_.limits.device),
         over(made.needs.host, options_.limits.host), over(made.needs.files, options_.limits.files),
         options_.limits.memory == 0 ? 0 : over(made.needs.memory, options_.limits.memory)});
  }

  void all(Point point, std::size_t dimension) {
    if (dimension == point.size()) {
      (void)plan(point);
      return;
    }
    for (std::size_t v = 0; v < space_.dimensions()[dimension].values.size(); ++v) {
      point[dimension] = v;
      all(point, dimension + 1);
    }
  }

  // Corners: every value of stage and recompute, with nothing moved, the optimizer moved, or all.
  void descend_from_each_corner() {
    std::vector<Point> corners{Point(space_.dimensions().size(), 0)};
    spread(corners, {"zero_stage"});
    spread(corners, {"recompute"});
    spread(corners, {"offload_optimizer"});
    spread(corners, {"offload_params", "offload_activations"});
    std::size_t planned = 0;
    while (planned < corners.size() && !spent()) (void)plan(corners[planned++]);
    constexpr int starts = 12;
    std::set<Point> tried, ends;
    for (int start = 0; start < starts && !spent(); ++start) {
      const std::optional<Point> from = best_untried(tried);
      if (!from) return;
      tried.insert(*from);
      Point at = descend(*from);
      while (!spent() && ends.insert(at).second && move_two(at)) at = descend(at);
      tried.insert(at);
    }
  }
  std::optional<Point> best_untried(const std::set<Point>& tried) const {
    const Known::value_type* best = nullptr;
    for (const Known::value_type& one : known_) {
      if (tried.contains(one.first)) continue;
      if (best == nullptr || better(one.second, best->second)) best = &one;
    }
    return best == nullptr ? std::nullopt : std::optional(best->first);
  }
  // Multiplies `corners` by the values of one dimension, or of several taken together.
  void spread(std::vector<Point>& corners, const std::vector<std::string_view>& keys) {
    const std::vector<Point> before = corners;
    std::vector<std::size_t> which;
    std::size_t most = 0;
    for (std::size_t d = 0; d < space_.dimensions().size(); ++d) {
      const Dimension& dimension = space_.dimensions()[d];
      if (std::find(keys.begin(), keys.end(), dimension.key) == keys.end()) continue;
      which.push_back(d);
      most = std::max(most, dimension.values.size());
    }
    for (std::size_t v = 1; v < most; ++v) {
      for (Point point : before) {
        for (const std::size_t d : which)
          point[d] = std::min(v, space_.dimensions()[d].values.size() - 1);
        corners.push_back(std::move(point));
      }
    }
  }

  // One dimension at a time, until none makes it better.
  Point descend(Point at) {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t d = 0; d < at.size(); ++d) moved = move_one(at, d) || moved;
    }
    return at;
  }
  bool move_one(Point& at, std::size_t d) {
    Point best = at;
    for (std::size_t v = 0; v < space_.dimensions()[d].values.size() && !spent(); ++v) {
      Point other = at;
      other[d] = v;
      if (better(plan(other), plan(best))) best = other;
    }
    const bool moved = better(plan(best), plan(at));
    if (moved) at = space_.normal(best);
    return moved;
  }
  // What a change costs another may win back: both at once.
  bool move_two(Point& at) {
    for (std::size_t d = 0; d < at.size(); ++d) {
      for (std::size_t v = 0; v < space_.dimensions()[d].values.size(); ++v) {
        if (v == at[d]) continue;
        Point other = at;
        other[d] = v;
        for (std::size_t e = d + 1; e < at.size() && !spent(); ++e) {
          Point pair = other;
          if (!move_one(pair, e) || !better(plan(pair), plan(at))) continue;
          at = space_.normal(pair);
          return true;
        }
      }
    }
    return false;
  }

  std::string reason(const Candidate& c, const Candidate* winner) const {
    if (c.fits() && winner == &c) return {};
    if (c.fits()) {
      const double slower = 100 * (c.seconds / winner->seconds - 1);
      return slower < 1e-7 ? "no faster" : fmt::format("{:.3g} % slower", slower);
    }
    std::string why = "needs";
    const auto more = [&](Bytes need, Bytes limit, const char* where) {
      if (need > limit)
        why += fmt::format("{} {} more {}", why == "needs" ? "" : " and",
                           format_bytes(need - limit), where);
    };
    more(c.needs.device, options_.limits.device, "on the device");
    more(c.needs.host, options_.limits.host, "in host memory");
    more(c.needs.files, options_.limits.files, "in files");
    if (why == "needs") more(c.needs.memory, options_.limits.memory, "in memory");
    return why;
  }

  // The winner and who came next; then who would be faster but does not fit, nearest first.
  std::vector<Candidate> ranked() const {
    std::vector<const Candidate*> fitting, others;
    for (const auto& [point, candidate] : known_) {
      if (candidate.seconds == std::numeric_limits<double>::infinity()) continue;
      (candidate.fits() ? fitting : others).push_back(&candidate);
    }
    std::stable_sort(fitting.begin(), fitting.end(),
                     [](const auto* a, const auto* b) { return better(*a, *b); });
    std::stable_sort(others.begin(), others.end(),
                     [](const auto* a, const auto* b) { return better(*a, *b); });
    const Candidate* winner = fitting.empty() ? nullptr : fitting.front();
    std::vector<Candidate> found;
    take(fitting, winner, options_.runners_up + 1, found);
    if (winner != nullptr)
      std::erase_if(others, [&](const auto* c) { return c->seconds >= winner->seconds; });
    take(others, winner, options_.runners_up, found);
    return found;
  }
  // Of candidates that differ in nothing that is shown, the first.
  void take(const std::vector<const Candidate*>& from, const Candidate* winner, std::size_t most,
            std::vector<Candidate>& found) const {
    std::size_t taken = 0;
    for (const Candidate* c : from) {
      const auto alike = [&](const Candidate& other) {
        return other.seconds == c->seconds && other.needs == c->needs;
      };
      if (taken == most || std::any_of(found.begin(), found.end(), alike)) continue;
      found.push_back(*c);
      found.back().why = reason(*c, winner);
      ++taken;
    }
  }

  const Validated& run_;
  const Job& job_;
  const SearchOptions& options_;
  SearchSpace space_;
  std::string key_;
  Known known_;
};

}  // namespace

SearchResult search(const Validated& run, const Job& job, const SearchOptions& options) {
  return Searcher(run, job, options).find();
}

SearchOptions search_options(const Validated& run, const plan::Machine& machine) {
  const Limits free = limits_of(run);
  const auto limit = [](Bytes stated, Bytes of_machine, Bytes otherwise) {
    return stated > 0 ? stated : of_machine > 0 ? of_machine : otherwise;
  };
  SearchOptions options;
  options.machine = machine;
  const bool files = !run->file_tier.offload_dir.empty();
  options.limits = {
      limit(run->memory.memory_limit, machine.device_memory, free.device),
      limit(run->memory.host_memory_limit, machine.host_memory, free.host),
      limit(run->file_tier.file_limit, machine.file_capacity,
            files ? std::numeric_limits<Bytes>::max() : 0),
      free.memory == 0 || machine.host_memory == 0 ? free.memory : machine.host_memory};
  options.ranks_a_machine = std::min(run->ranks.ranks, machine.ranks);
  return options;
}

}  // namespace sherd::launch
