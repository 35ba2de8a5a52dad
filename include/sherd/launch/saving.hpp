#pragma once
// When a run saves, and how its ranks agree that a checkpoint is complete.
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "sherd/checkpoint/config.hpp"
#include "sherd/checkpoint/store.hpp"
#include "sherd/comm/control_block.hpp"
#include "sherd/engine/engine.hpp"

namespace sherd::launch {

/// A checkpoint that is durable.
struct Saved {
  std::uint64_t step = 0;
  std::string folder;
  Bytes bytes = 0;
  double stall_seconds = 0;   // training waited
  double commit_seconds = 0;  // from there to its publication
};

/// One rank's saves. A save is a draft that every rank puts its file and its part of the manifest
/// into; when all have reported, rank 0 publishes it, or removes it when one failed.
///
/// **Order** one thread calls; saves are begun at the same steps on all ranks. One is under way at
/// most. Rank 0 decides when, but for the last: `wish` goes through the step's vote.
/// **Errors** CommError when the run has ended; a failed save is a warning.
class Saving {
 public:
  struct Parts {
    engine::Engine& engine;
    comm::ControlBlock& control;
    Rank rank = 0;
    int world = 1;
    const checkpoint::CheckpointConfig& config;
    io::Storage& storage;
    checkpoint::Manifest manifest;  // all but progress and contents
    std::uint64_t at = 0;           // step that is saved already: what the run goes on from
  };
  explicit Saving(Parts parts);
  ~Saving();
  Saving(const Saving&) = delete;
  Saving& operator=(const Saving&) = delete;

  /// Does this rank want the step that comes next to be saved?
  [[nodiscard]] bool wish();
  /// Copies the state as it is; writing goes on behind it.
  void begin();
  /// The checkpoint that has become durable since the last call; on rank 0.
  [[nodiscard]] std::optional<Saved> news();
  /// Returns when none is under way.
  void settle();
  /// Saves the state as it is unless it is saved already, and settles.
  ///
  /// **Errors** DeviceError when it could not be saved.
  void finish();

 private:
  class Publisher;
  [[nodiscard]] bool due() const;
  [[nodiscard]] bool has_room();
  [[nodiscard]] bool idle() const;
  [[nodiscard]] checkpoint::FileWriter::Settled reporter(std::uint64_t attempt,
                                                         const std::string& draft);

  Parts parts_;
  checkpoint::Store store_;
  checkpoint::SaveEvery every_;
  std::uint64_t attempt_ = 0;     // the latest begun
  std::uint64_t saved_step_ = 0;  // of the latest begun
  std::uint64_t heard_ = 0;       // requests that were
  bool owed_ = false;             // wanted, and not begun yet
  double cost_ = 0;               // seconds that the latest took of training
  std::chrono::steady_clock::time_point last_;
  std::unique_ptr<Publisher> publisher_;  // of rank 0
};

}  // namespace sherd::launch
