# Makes `find_package(sherd)` work after `cmake --install`.
include(CMakePackageConfigHelpers)
get_property(sherd_modules GLOBAL PROPERTY SHERD_MODULES)
install(TARGETS ${sherd_modules} EXPORT sherd ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/sherd DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT sherd NAMESPACE sherd:: FILE sherd-targets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/sherd)
if(Liburing_FOUND)
  set(SHERD_URING_PACKAGE Liburing)
endif()
configure_package_config_file(cmake/sherd-config.cmake.in ${CMAKE_BINARY_DIR}/sherd-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/sherd)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/sherd-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/sherd-config.cmake ${CMAKE_BINARY_DIR}/sherd-config-version.cmake
  cmake/FindISAL.cmake cmake/FindLiburing.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/sherd)
