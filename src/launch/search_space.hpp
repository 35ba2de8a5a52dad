#pragma once
// What a search may choose: each dimension's values, the asked one first.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/launch/search.hpp"

namespace sherd::launch {

struct Dimension {
  std::string_view key;              // of the field it sets
  std::vector<std::int64_t> values;  // as `set` takes them
  void (*set)(RunConfig& config, std::int64_t value);
  bool (*matters)(const RunConfig& config);  // else every value is the same program
};

/// A value's index by dimension.
using Point = std::vector<std::size_t>;

class SearchSpace {
 public:
  SearchSpace(const Validated& run, const SearchOptions& options);

  [[nodiscard]] const std::vector<Dimension>& dimensions() const { return dimensions_; }
  [[nodiscard]] double combinations() const;
  /// The point with the asked value wherever another makes no difference.
  [[nodiscard]] Point normal(Point point) const;
  [[nodiscard]] RunConfig at(const Point& point) const;
  /// Flags that lead from what was asked to `config`.
  [[nodiscard]] std::string flags(const RunConfig& config) const;

 private:
  void add(Dimension dimension, std::int64_t asked);
  void add_sharding(const Validated& run);
  void add_placements(const SearchOptions& options);
  void add_batch();
  void keep_reduce(RunConfig& config) const;

  RunConfig asked_;
  plan::ReduceEvery reduce_;  // as it was resolved
  bool keeps_numerics_;
  std::vector<std::string> given_;
  std::vector<Dimension> dimensions_;
};

}  // namespace sherd::launch
