#pragma once
// The file tier of one rank: records at fixed places, each checked when it is read.
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sherd/base/units.hpp"
#include "sherd/io/config.hpp"

namespace sherd::io {

inline constexpr Bytes direct_block = 4096;  // of direct transfers: offsets, sizes and addresses

/// Bytes of a record: a header of one block, then the payload up to a whole block.
[[nodiscard]] constexpr Bytes record_bytes(Bytes payload) {
  return direct_block + round_up(payload, direct_block);
}

inline constexpr std::size_t transfer_part = mib;  // of a call: what is under way as one request

/// Works on the parts of a call while others are under way: of a read when a part has come, of a
/// write before it goes.
///
/// **Order** each part once, from any thread, two at a time. Of a write the first part is last:
/// when it is told, all others have returned. After a failure parts may be left out.
class Passing {
 public:
  virtual ~Passing() = default;
  virtual void part(std::size_t index) noexcept = 0;
};

/// Moves bytes between memory and one open file, past the page cache where the file allows it.
///
/// **Order** a call returns when all of it is done, or has failed and nothing is under way; one
/// call at a time. Its parts are under way together.
/// **Memory** offsets, sizes and addresses are multiples of `direct_block`; nothing is allocated.
/// **Errors** DeviceError naming what failed (short counts that do not go on included).
class Transfer {
 public:
  virtual ~Transfer() = default;
  virtual void read(Bytes offset, std::span<std::byte> into, Passing* passing) = 0;
  virtual void write(Bytes offset, std::span<const std::byte> from, Passing* passing) = 0;
  /// "io_uring, direct", "2 threads, direct", …: for the log.
  [[nodiscard]] virtual std::string name() const = 0;
};

/// Records of one rank. Whoever reads a record has written it before, in this run.
///
/// **Memory** `record` is record_bytes(payload) long and aligned to `direct_block`; the payload is
/// at record[direct_block …].
/// **Errors** DeviceError from the transfer (exit 5); DataError for a record that is torn, altered,
/// of another place or older than the last write of it (exit 4). Both name the file, `what` and the
/// offset.
class RecordFile {
 public:
  RecordFile(std::unique_ptr<Transfer> transfer, std::string path);
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;
  ~RecordFile();

  void read(Bytes offset, std::span<std::byte> record, Bytes payload, std::string_view what);
  void write(Bytes offset, std::span<std::byte> record, Bytes payload, std::string_view what);
  [[nodiscard]] std::string engine() const { return transfer_->name(); }

 private:
  struct Written;  // by offset: how often, and the checksum of the last time
  std::unique_ptr<Transfer> transfer_;
  std::string path_;
  std::unique_ptr<Written> written_;
};

/// An unnamed file of `size` bytes in the folder, preallocated: nothing is left when its owner
/// dies. **Errors** CapacityError when the folder has not that much room; DeviceError otherwise.
[[nodiscard]] std::unique_ptr<RecordFile> make_record_file(const FileTierConfig& config, Rank rank,
                                                           Bytes size);

/// Holds the folder for one run: no other run enters it while this lives.
///
/// **Errors** ConfigError when there is no such folder, it cannot be written, it is on a memory or
/// network file system (unless any is allowed), or another run holds it (named by pid).
class OffloadFolder {
 public:
  explicit OffloadFolder(const FileTierConfig& config);
  OffloadFolder(OffloadFolder&& other) noexcept;
  OffloadFolder& operator=(OffloadFolder&&) = delete;
  ~OffloadFolder();

  /// Bytes that may be taken in it now.
  [[nodiscard]] Bytes free() const;

 private:
  std::string path_;
  int lock_ = -1;
};

}  // namespace sherd::io
