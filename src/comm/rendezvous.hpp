#pragma once
// How the ranks of a group meet: a call is announced, compared, and left together.
#include <chrono>
#include <string_view>
#include <vector>

#include "comm/fingerprint.hpp"
#include "sherd/comm/control_block.hpp"

namespace sherd::comm {

struct Group {
  ControlBlock* control = nullptr;
  std::vector<Rank> ranks{};             // of the run, by rank in the group
  std::vector<std::uint32_t> records{};  // of the control block, by rank in the group
  Rank self = 0;                         // in the group
  std::chrono::nanoseconds timeout{0};

  [[nodiscard]] int size() const { return static_cast<int>(ranks.size()); }
  [[nodiscard]] Rank run_rank(Rank rank) const { return ranks[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] std::uint32_t record_of(Rank rank) const {
    return records[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] MemberRecord& member(Rank rank) const { return control->members[record_of(rank)]; }
};

/// One rank's part in the meetings of its group.
///
/// **Order** What a rank wrote before a meeting point, all see after it.
/// **Errors** CommError: the run has a cause of its end, found here or by anybody.
class Rendezvous {
 public:
  explicit Rendezvous(Group group);
  [[nodiscard]] const Group& group() const { return group_; }

  /// All ranks have come with the same call.
  void arrive(const Call& call);
  /// All ranks have come this far in the call.
  void pass();
  /// The same, and the call is complete.
  void leave();
  /// Every rank's `value`, by rank: a whole collective.
  std::vector<std::uint32_t> exchange(const Call& call, std::uint32_t value);
  /// Ends the run, unless it has ended, and throws the cause.
  [[noreturn]] void fail(std::string_view cause);

 private:
  enum class At { start, middle };
  void meet(At at);
  [[nodiscard]] std::string lateness(Rank first, std::uint32_t point, At at) const;

  Group group_;
  std::chrono::nanoseconds spin_;
};

}  // namespace sherd::comm
