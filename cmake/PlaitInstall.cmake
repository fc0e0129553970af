# Install tree: libraries, headers and a package config, so that find_package(plait) works (component "devel").
include(CMakePackageConfigHelpers)
get_property(_libraries GLOBAL PROPERTY PLAIT_LIBRARIES)

install(TARGETS ${_libraries}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT devel NAMELINK_COMPONENT devel
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT devel)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/plait DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT devel
  FILES_MATCHING PATTERN "*.h" PATTERN "cli" EXCLUDE)

# One imported target per library, with the links that its headers need.
set(PLAIT_IMPORTED_TARGETS "")
foreach(_library IN LISTS _libraries)
  get_property(_links GLOBAL PROPERTY PLAIT_LINKS_${_library})
  list(TRANSFORM _links PREPEND "plait::" REGEX "^plait_")
  string(APPEND PLAIT_IMPORTED_TARGETS "_plait_import(${_library} ${_links})\n")
endforeach()
set(_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/plait)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/plait-config.cmake.in
  ${CMAKE_BINARY_DIR}/plait-config.cmake INSTALL_DESTINATION ${_config_dir}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/plait-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/plait-config.cmake ${CMAKE_BINARY_DIR}/plait-config-version.cmake
              ${CMAKE_CURRENT_LIST_DIR}/PlaitTorch.cmake
        DESTINATION ${_config_dir} COMPONENT devel)
