#pragma once
// Carries out the snapshot program: what a rank owns goes into the ring that its file is written
// from.
#include <optional>
#include <vector>

#include "engine/states.hpp"
#include "sherd/checkpoint/file_writer.hpp"
#include "sherd/engine/walk.hpp"
#include "sherd/io/record_file.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::engine {

/// The file that the program fills: pieces in the order of its steps.
[[nodiscard]] checkpoint::FileImage image_of(const plan::Plan& plan);

class Snapshot final : public Visitor {
 public:
  struct Parts {
    const plan::Plan& plan;
    const Arenas& arenas;
    io::RecordFile* file = nullptr;
    const AbortWord& abort;
    device::Stream& down;                        // copies to the host
    const device::OpenDevice* device = nullptr;  // null: the CPU
  };
  Snapshot(const Parts& parts, checkpoint::FileWriter& writer);

  void begin() { end_ = handed_ = 0; }
  void visit(std::uint32_t step, const Moment& moment) override;
  [[nodiscard]] std::string varies(std::uint32_t) const override {
    return "it waits for a file to be written";
  }
  /// What was copied last is handed over; all of it is then in the ring or behind.
  void finish() { hand_over(); }

 private:
  struct Copy {
    std::byte* from = nullptr;
    Bytes bytes = 0;
    std::byte* to = nullptr;
  };
  struct Tile {
    std::vector<Copy> copies;  // one behind the other, without padding
    Bytes bytes = 0;
  };
  [[nodiscard]] Tile bind(const plan::Step& step) const;
  [[nodiscard]] std::span<std::byte> bytes_at(const plan::Access& access) const;
  void fetch(const plan::Step& step);
  void append(const Copy& copy);
  void carry_out();
  void hand_over();

  Parts parts_;
  checkpoint::FileWriter& writer_;
  std::span<std::byte> ring_;
  std::vector<Tile> tiles_;      // by step
  Bytes end_ = 0;                // of the file, put
  Bytes handed_ = 0;             // of it, handed over
  std::vector<Copy> under_way_;  // of one tile, in parts that threads share
  std::optional<device::Ready> copied_;
};

}  // namespace sherd::engine
