#pragma once
// What a rank holds from before its first step to its end: its device, its arenas, and how it
// reaches those of the others.
#include <array>
#include <memory>
#include <optional>
#include <span>

#include "sherd/comm/local.hpp"
#include "sherd/io/record_file.hpp"
#include "sherd/launch/rank_environment.hpp"
#include "sherd/launch/run_config.hpp"
#include "sherd/memory/arena.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::launch {

/// **Memory** every arena is allocated here, zeroed, as large as the plan says.
/// **Errors** CapacityError when there is not that much; DeviceError when the device does not work.
class RankMemory {
 public:
  RankMemory(const Validated& run, const plan::Plan& plan, const RankEnvironment& seat);
  /// Of a rank that is a thread: an arena that its process owns.
  RankMemory(std::span<std::byte> arena, std::shared_ptr<comm::PeerArenas> peers)
      : borrowed_(arena), peers_(std::move(peers)) {}
  RankMemory(const RankMemory&) = delete;
  RankMemory& operator=(const RankMemory&) = delete;

  using Arenas = std::array<std::span<std::byte>, memory::tiers>;
  [[nodiscard]] Arenas arenas() const;
  [[nodiscard]] std::span<std::byte> compute_arena() const { return arenas()[0]; }
  [[nodiscard]] const device::OpenDevice* device() const { return device_ ? &*device_ : nullptr; }
  [[nodiscard]] device::Stream* net() { return net_ ? &*net_ : nullptr; }
  [[nodiscard]] const std::shared_ptr<comm::PeerArenas>& peers() const { return peers_; }
  [[nodiscard]] io::RecordFile* file() const { return file_.get(); }  // null: nothing is on file

  /// Memory of the device that nobody uses now.
  [[nodiscard]] Bytes device_free() const { return device_->driver->info().free; }
  /// Bytes that libraries took since the device was opened, beside the arena; nothing where ranks
  /// share a device and nobody can tell whose they are.
  [[nodiscard]] std::optional<Bytes> taken_by_libraries() const;

 private:
  std::optional<device::OpenDevice> device_;
  Bytes free_at_start_ = 0;
  bool shared_ = false;
  std::array<memory::Arena, memory::tiers> arenas_;
  std::span<std::byte> borrowed_;
  std::optional<device::Stream> net_;
  std::shared_ptr<comm::PeerArenas> peers_;
  std::unique_ptr<io::RecordFile> file_;
};

/// Free memory of a rank's device now, its share where several ranks have the same one.
[[nodiscard]] Bytes free_on_device(const Validated& run, Rank rank);

}  // namespace sherd::launch
