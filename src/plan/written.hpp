#pragma once
// Which bytes of a buffer have a value.
#include <algorithm>
#include <iterator>
#include <map>

#include "sherd/base/units.hpp"

namespace sherd::plan {

/// Bytes of a buffer that something wrote: disjoint runs, first to end.
class Written {
 public:
  void add(Bytes first, Bytes end) {
    auto run = runs_.upper_bound(first);
    if (run != runs_.begin() && std::prev(run)->second >= first) --run;
    while (run != runs_.end() && run->first <= end) {
      first = std::min(first, run->first);
      end = std::max(end, run->second);
      run = runs_.erase(run);
    }
    runs_[first] = end;
  }
  [[nodiscard]] bool covers(Bytes first, Bytes end) const {
    const auto run = runs_.upper_bound(first);
    return run != runs_.begin() && std::prev(run)->second >= end;
  }

 private:
  std::map<Bytes, Bytes> runs_;
};

}  // namespace sherd::plan
