#pragma once
// What keeping files safe asks of the system. Tests put memory, crashes and faults here.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sherd/base/units.hpp"

namespace sherd::io {

enum class Cache : std::uint8_t { through, past };  // of pages

/// Answers are those of the system: a count or a descriptor, or an errno below zero.
///
/// **Order** any thread. Nothing is durable before `sync` of the file, and of the folder for names.
class Storage {
 public:
  virtual ~Storage() = default;
  /// For its owner alone.
  virtual int make_folder(const std::string& path);
  /// A new regular file, for its owner alone; never follows a link or takes what is there. `past`
  /// the cache, where the file system allows it: offsets, sizes and addresses of writes are then
  /// multiples of `direct_block`.
  virtual int create(const std::string& path, Cache cache);
  /// A regular file to read; anything else is EINVAL, a link ELOOP. `past` the cache as above.
  virtual int open(const std::string& path, Cache cache);
  virtual int open_folder(const std::string& path);
  virtual int close(int file);

  virtual int reserve(int file, Bytes size);
  virtual std::int64_t size(int file);
  /// Some of the bytes.
  virtual std::int64_t write(int file, Bytes offset, std::span<const std::byte> from);
  virtual std::int64_t read(int file, Bytes offset, std::span<std::byte> into);
  /// A file, or a folder: the names in it.
  virtual int sync(int file);
  /// For this process until it closes the folder; EAGAIN where another one has it.
  virtual int lock(int folder);

  /// EEXIST where there is something of the new name.
  virtual int rename(const std::string& from, const std::string& to);
  /// Each takes the other's place, at once; EINVAL where the file system cannot.
  virtual int exchange(const std::string& one, const std::string& other);
  /// A file or an empty folder.
  virtual int remove(const std::string& path);
  /// Names in a folder, in any order.
  virtual int list(const std::string& folder, std::vector<std::string>& names);
  /// Bytes that may be taken in it now.
  virtual std::int64_t room(const std::string& folder);
};

/// The system itself.
[[nodiscard]] Storage& storage();

/// Owns a descriptor of a Storage. `call` names fail with errors that name path and call.
class Stored {
 public:
  Stored() = default;
  Stored(Storage& storage, std::string path, int file, Cache cache = Cache::through);
  Stored(Stored&& other) noexcept;
  Stored& operator=(Stored&& other) noexcept;
  ~Stored();

  /// Fills `into` from `offset` on. **Errors** DataError where the file ends before or cannot be
  /// read.
  void read(Bytes offset, std::span<std::byte> into) const;
  /// **Errors** DataError naming path, call and cause, as all below.
  void write(Bytes offset, std::span<const std::byte> from) const;
  void reserve(Bytes size) const;
  void sync() const;
  void close();
  [[nodiscard]] Bytes size() const;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  void need(std::int64_t answer, const char* call) const;

  [[nodiscard]] std::size_t kept(std::int64_t answer, std::size_t asked) const;

  Storage* storage_ = nullptr;
  std::string path_;
  int file_ = -1;
  Cache cache_ = Cache::through;
};
/// **Errors** DataError when there is no such file, or it is no regular one.
[[nodiscard]] Stored open_stored(Storage& storage, const std::string& path,
                                 Cache cache = Cache::through);
[[nodiscard]] Stored create_stored(Storage& storage, const std::string& path, Cache cache);
[[nodiscard]] Stored open_stored_folder(Storage& storage, const std::string& path);
/// Throws DataError "<path>: cannot be <done> (<call>: <cause>)".
[[noreturn]] void throw_stored(const std::string& path, const char* call, std::int64_t answer);

}  // namespace sherd::io
