#pragma once
// What the ranks of a run share besides data: the abort word, the stop request, who is where.
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sherd/base/abort.hpp"
#include "sherd/base/units.hpp"

namespace sherd::comm {

/// One rank's end of one group: how far it has come, and the call it is in.
///
/// Others read it at any time, so every field is atomic; after a crash it may hold anything.
struct alignas(64) MemberRecord {
  std::atomic<std::uint32_t> progress;               // meeting points reached; a futex
  std::atomic<std::uint32_t> sequence;               // collectives begun
  std::atomic<std::uint32_t> completed;              // collectives completed
  std::atomic<std::uint32_t> shared;                 // one number for the whole group (split)
  std::array<std::atomic<std::uint64_t>, 6> call;    // the fingerprint
  std::array<std::atomic<std::uint64_t>, 8> phrase;  // the label, at most 63 characters
};
static_assert(sizeof(MemberRecord) == 128);

/// Where one rank of the run is, for messages.
struct alignas(64) RankRecord {
  std::atomic<std::int64_t> step;       // 0: before the first
  std::atomic<std::uint32_t> member;    // 1 + record of its latest collective; 0: none yet
  std::atomic<std::int32_t> pid;        // of its process; all ranks know after the first collective
  std::atomic<std::uint64_t> rss_peak;  // bytes, told at the end
  std::atomic<std::uint64_t> copied;    // the latest attempt whose snapshot is taken
  std::atomic<std::uint64_t> saved;     // 2 · attempt + is its file synced
  std::atomic<std::uint64_t> written;   // bytes of its files so far, of all attempts
};

class ControlMapping;

/// Lives in zeroed memory that all ranks map; trivially constructible there.
struct ControlBlock {
  static constexpr int max_ranks = 64;
  static constexpr std::uint32_t max_members = 1024;  // a split of n ranks takes n

  AbortWord abort;
  std::uint32_t layout;                      // version of this struct
  std::int32_t world;                        // ranks of the run
  std::atomic<std::uint32_t> stop_signal;    // set by the supervisor; ranks agree on it, then end
  std::atomic<std::uint32_t> save_requests;  // by signals, counted by the supervisor
  std::atomic<std::uint64_t> published;      // 2 · attempt + is it a checkpoint; by rank 0
  std::atomic<std::uint64_t> save_warned;    // the latest attempt whose failure was told
  std::atomic<std::uint32_t> members_taken;  // the first `world` records are the run's own group
  std::array<RankRecord, max_ranks> ranks;
  std::array<MemberRecord, max_members> members;

  /// A block in a memfd of its own, closed on exec.
  ///
  /// **Errors** UsageError unless 1 <= world <= 64; CommError when the machine refuses.
  static ControlMapping create(int world);
  /// The block behind an inherited descriptor, which is taken over.
  ///
  /// **Errors** CommError unless it holds a block of this version.
  static ControlMapping attach(int fd);

  void note_step(Rank rank, std::int64_t step) noexcept;
  /// Ends the run with `exit_code` unless it has a cause already; wakes every sleeper. True if this
  /// cause won.
  bool fail(int exit_code, std::string_view cause) noexcept;
  /// The same, said by a rank about itself: "rank 3: what".
  bool fail(Rank rank, int exit_code, std::string_view what) noexcept;
  /// The cause of the end; `otherwise` if a writer died between its two halves. Waits at most
  /// 100 ms.
  [[nodiscard]] std::string cause(std::string_view otherwise) const;

  /// First of `count` free member records, or nothing.
  std::optional<std::uint32_t> take_members(std::uint32_t count) noexcept;
  /// `reduce_scatter "reduce bucket 1" (collective 57)`, `… (collective 57, step 12)`; of a record.
  [[nodiscard]] std::string call_text(std::uint32_t member, std::int64_t step = 0) const;
  /// `in reduce_scatter "reduce bucket 1" (collective 57)`, `after …` or `before its first
  /// collective`.
  [[nodiscard]] std::string whereabouts(Rank rank) const;
};

/// Owns a mapping of a control block and its descriptor.
class ControlMapping {
 public:
  ControlMapping(ControlMapping&& other) noexcept;
  ControlMapping& operator=(ControlMapping&& other) noexcept;
  ~ControlMapping();

  [[nodiscard]] ControlBlock& operator*() const { return *block_; }
  [[nodiscard]] ControlBlock* operator->() const { return block_; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  friend struct ControlBlock;
  ControlMapping(int fd, ControlBlock* block) : fd_(fd), block_(block) {}
  int fd_ = -1;
  ControlBlock* block_ = nullptr;
};

}  // namespace sherd::comm
