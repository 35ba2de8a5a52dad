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
  /// Writes down `call` for others to see, without waiting for them; its sequence number, by which
  /// `complete` says later that it is over.
  std::uint32_t announce(const Call& call);
  void complete(std::uint32_t sequence);
  /// Fails if a peer is at this rank's collective with another call, as far as can be seen now.
  void compare();
  /// Why `call`, announced as number `sequence`, takes too long: who has not issued it.
  [[nodiscard]] std::string overdue(const std::string& call, std::uint32_t sequence) const;
  /// `reduce_scatter "reduce bucket 1" (collective 57, step 12)`, and its step.
  [[nodiscard]] std::string own_call() const;
  [[nodiscard]] std::int64_t own_step() const;
  /// Every rank's `value`, by rank: a whole collective.
  std::vector<std::uint32_t> exchange(const Call& call, std::uint32_t value);
  /// The group of those ranks that give the same color: a whole collective.
  ///
  /// **Errors** UsageError, on all ranks, when the control block holds no further group.
  Group split(int color);
  /// Ends the run, unless it has ended, and throws the cause.
  [[noreturn]] void fail(std::string_view cause);

 private:
  enum class At { start, middle };
  void write(const Call& call);
  void meet(At at);
  void step();
  [[nodiscard]] std::string lateness(Rank first, std::uint32_t point, At at) const;
  [[nodiscard]] std::string absence(const std::vector<Rank>& late, std::string_view verb,
                                    const std::string& call) const;
  [[nodiscard]] std::string difference(Rank peer) const;

  Group group_;
  std::chrono::nanoseconds spin_;
};

}  // namespace sherd::comm
